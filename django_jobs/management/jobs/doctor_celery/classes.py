"""Base classes of tasks: options move to ``@job``, hooks stay."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ....define.options import JobOptions
from ....from_celery.options import OPTIONS
from .finding import REMOVE, STACK, Finding, Place, Section, code
from .symbols import Module, Symbols

_HOOKS = {"before_start", "on_success", "on_failure", "on_retry", "after_return"}
_METHODS = {
    "run": "Make it a function with @job.",
    "apply_async": "It is never called: put what each call needs into a function of your own.",
    "delay": "It is never called: put what each call needs into a function of your own.",
    "__init__": "There is an instance for each attempt: put what is made once into the module.",
    "retry": "It stays, and calls super().retry().",
    "update_state": "It stays, and calls super().update_state().",
    "__call__": "It stays: it wraps each attempt, and calls super().__call__().",
}
_CELERY_ONLY = {"on_bound", "shadow_name", "on_replace", "send_event", "annotate", "from_config"}


def findings(module: Module, symbols: Symbols) -> Iterator[Finding]:
    for node in module.classes.values():
        if any(symbols.is_task(module, base) for base in node.bases):
            yield from _of_class(Place(module.file), node)


def _of_class(place: Place, node: ast.ClassDef) -> Iterator[Finding]:
    bases = ", ".join(map(code, node.bases))
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    text = (
        "It needs no class here: its options go into @job."
        if not methods & {*_HOOKS, "__call__", "retry", "update_state"}
        else f"Write a class {node.name}Job(JobContext) with the same hooks, and name it in base= "
        "of @job; a mixin can have the hooks for both."
    )
    yield place.finding(node, f"class {node.name}({bases})", text, STACK, Section.DIFFERS)
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign):
            yield from _of_attribute(place, node, each)
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _of_method(place, node, each)


def _of_attribute(
    place: Place, owner: ast.ClassDef, node: ast.Assign | ast.AnnAssign
) -> Iterator[Finding]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        name = target.id if isinstance(target, ast.Name) else ""
        what = f"{owner.name}.{name}"
        if name in JobOptions.__dataclass_fields__:
            value = "…" if node.value is None else code(node.value)
            text = f"Move it: {name}={value} of @job, or of DJANGO_JOBS['JOB_OPTIONS']."
            yield place.finding(node, what, text, STACK, Section.OPTIONS)
        elif name in OPTIONS:
            text = f"{OPTIONS[name][0].upper()}{OPTIONS[name][1:]}."
            step = REMOVE if "leave it out" in text else STACK
            yield place.finding(node, what, text, step, Section.OPTIONS)
        elif name.startswith("_") and not name.startswith("__"):
            text = (
                "There is an instance for each attempt: put the state of a process into the module."
            )
            yield place.finding(node, what, text, STACK, Section.DIFFERS)


def _of_method(
    place: Place, owner: ast.ClassDef, node: ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[Finding]:
    what = f"{owner.name}.{node.name}()"
    if node.name in _METHODS:
        yield place.finding(node, what, _METHODS[node.name], STACK, Section.DIFFERS)
    elif node.name in _CELERY_ONLY:
        yield place.finding(node, what, "Nothing calls it here.", STACK, Section.DIFFERS)
    elif node.name in _HOOKS:
        parameters = {each.arg for each in node.args.args}
        text = "It stays, with the same arguments."
        if "einfo" in parameters:
            text += " einfo is the text of the traceback; exc is the exception."
        yield place.finding(node, what, text, STACK, Section.AROUND)
