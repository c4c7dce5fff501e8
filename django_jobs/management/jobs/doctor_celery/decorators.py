"""Functions that are tasks: their decorator becomes ``@job``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ....define.options import JobOptions
from ....from_celery.options import OPTIONS
from ....from_celery.tasks import ATTRIBUTES
from .finding import REMOVE, STACK, Finding, Place, Section, code, name_of, options
from .symbols import APP, Module, Symbols

_DECORATORS = {
    "celery.shared_task", "celery.task", "celery.task.task", "celery.task.periodic_task",
    "celery.decorators.task", "celery.decorators.periodic_task", f"{APP}.task",
}  # fmt: skip
_OURS = {"django_jobs.job", "django_jobs.api.decorator.job"}
_ERRBACK = ["request", "exc", "traceback"]
_RATE = "rate_limit holds over all workers."
_ACKS = "After a crash it runs again; acks_late=False keeps Celery's at most once."


def findings(module: Module, symbols: Symbols, acks_late: bool) -> Iterator[Finding]:
    """Yield the tasks of a module; *acks_late* is the project's ``task_acks_late``."""
    place = Place(module.file)
    tasks: set[str] = set()
    decorators: set[int] = set()
    for node in module.nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        origins = [(each, _origin(module, symbols, each)) for each in node.decorator_list]
        decorators |= {id(each) for each in node.decorator_list}
        has_job = any(origin in _OURS for _each, origin in origins)
        for decorator, origin in origins:
            if origin in _DECORATORS:
                tasks.add(node.name)
                yield _of_task(place, decorator, node, has_job, acks_late)
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            yield from _of_attribute(place, node, tasks)
        if not isinstance(node, ast.Call) or id(node) in decorators:
            continue
        if _origin(module, symbols, node) in _DECORATORS:
            text = "Put job(…) around its task, and leave it until the queues are empty."
            what = f"{name_of(node.func)}()"
            yield place.finding(node, what, text, STACK, Section.OPTIONS)


def _of_task(
    place: Place,
    decorator: ast.expr,
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    has_job: bool,
    acks_late: bool,
) -> Finding:
    what = f"@{code(decorator)} of {function.name}()"
    if has_job:
        text = "Delete this line when Celery's queues are empty: @job stands over it."
        return place.finding(decorator, what, text, REMOVE, Section.STEPS)
    text = " ".join(_becomes(decorator, function, acks_late))
    return place.finding(decorator, what, text, STACK, Section.OPTIONS)


def _of_attribute(place: Place, node: ast.Attribute, tasks: set[str]) -> Iterator[Finding]:
    """Yield an attribute of one of the module's tasks that a job function does not have."""
    name = node.value.id if isinstance(node.value, ast.Name) else ""
    # AsyncResult() is found at any object.
    if name in tasks and node.attr in ATTRIBUTES and node.attr not in ("AsyncResult", "subtask"):
        text = f"{ATTRIBUTES[node.attr]}."
        yield place.finding(node, name_of(node), text, STACK, Section.DIFFERS)


def _origin(module: Module, symbols: Symbols, decorator: ast.AST) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return symbols.origin(module, function)


def _becomes(
    decorator: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, acks_late: bool
) -> Iterator[str]:
    given = options(decorator)
    kept = {name: code(value) for name, value in given.items() if name in _KNOWN - {"base"}}
    kept |= _retries(given)
    shown = ", ".join(f"{name}={value}" for name, value in kept.items())
    job = f"@job({shown})" if shown else "@job"
    yield f"Put {job} over it, and leave it until the queues are empty."
    for name in given:
        if name not in _KNOWN and name != "retry_kwargs":
            yield f"{name}: {OPTIONS.get(name, 'it has no counterpart; leave it out')}."
    if "acks_late" not in given and not acks_late:
        yield _ACKS
    if "rate_limit" in given:
        yield _RATE
    if "base" in given:
        base = code(given["base"])
        yield f"The options of {base} go into @job, and its hooks into a class of JobContext."
    parameters = [each.arg for each in function.args.args]
    if parameters[-3:] == _ERRBACK or parameters[1:] == _ERRBACK:
        yield "An errback gets one dict: id, name, error_class, message and traceback."


_KNOWN = set(JobOptions.__dataclass_fields__)


def _retries(given: dict[str, ast.expr]) -> dict[str, str]:
    """Return options that keep the retries as they are with Celery."""
    found = {}
    retry = given.get("retry_kwargs")
    if isinstance(retry, ast.Dict):
        values = {code(key).strip("'"): code(value)
                  for key, value in zip(retry.keys, retry.values, strict=True) if key}  # fmt: skip
        if "max_retries" in values:
            found["max_retries"] = values["max_retries"]
        if "countdown" in values and "retry_backoff" not in given:
            found |= {"default_retry_delay": values["countdown"], "retry_backoff": "False"}
    elif retry is not None:
        found["max_retries"] = f"{code(retry)}['max_retries']"
    if "autoretry_for" in given and "retry_backoff" not in given:
        found["retry_backoff"] = "False"
    return found
