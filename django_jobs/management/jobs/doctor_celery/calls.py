"""Calls of tasks and of the app, and attributes that only Celery's objects have."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from django.db import DEFAULT_DB_ALIAS

from ....conf import get_settings
from ....define.call_options import CallKeywords
from ....define.canvas import INSTEAD
from ....from_celery.names import APP as OF_APP
from ....from_celery.names import REQUEST
from ....from_celery.options import OPTIONS
from ....from_celery.table import find
from ....from_celery.tasks import ATTRIBUTES
from .finding import BEAT, REMOVE, STACK, Finding, Place, Section, name_of, options, text_of
from .symbols import APP, Module, Symbols

_CALLS = {"apply_async", "apply_async_on_commit", "apply", "set", "signature"}
# Of ``self.retry()``.
_RETRY = {"args", "kwargs", "queue", "priority", "link", "link_error", "headers", "routing_key"}
# Others tell of these attributes of the app.
_ELSEWHERE = {"task", "conf", "Task", "add_periodic_task"}
# The names that make a signature.
_SIGNATURES = {"s", "si", "signature", "subtask", "set", "clone"}


def findings(module: Module, symbols: Symbols) -> Iterator[Finding]:
    place = Place(module.file)
    inner = {id(node.value) for node in module.nodes if isinstance(node, ast.Attribute)}
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            if id(node) not in inner:
                yield from _of_app(place, node, symbols.origin(module, node))
            yield from _of_request(place, node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            origin = symbols.origin(module, node.func)
            for look in _KINDS if origin.startswith(APP) or not origin else ():
                yield from look(place, node, node.func)
            if not origin:
                yield from _result(place, node, node.func)
        elif isinstance(node, ast.Call) and symbols.origin(module, node) == APP:
            text = "Delete the app and its module: @job needs no app object."
            yield place.finding(node, name_of(node), text, REMOVE, Section.APP)


def _of_app(place: Place, node: ast.Attribute, origin: str) -> Iterator[Finding]:
    name = origin.removeprefix(f"{APP}.")
    if name == origin or name.partition(".")[0] in _ELSEWHERE or name.startswith("on_"):
        return
    rule = find(OF_APP, name)
    if rule is not None:
        yield place.ruled(node, name_of(node), rule, Section.APP)


def _of_request(place: Place, node: ast.Attribute) -> Iterator[Finding]:
    owner = node.value
    is_request = isinstance(owner, ast.Attribute) and owner.attr == "request"
    if not is_request or name_of(owner) not in ("self.request", "current_task.request"):
        return
    rule = find(REQUEST, node.attr)
    if rule is not None:
        yield place.ruled(node, name_of(node), rule, Section.APP)


def _on_commit(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    # A row in another database is no part of the transaction.
    is_part = get_settings().database == DEFAULT_DB_ALIAS
    if function.attr in ("delay_on_commit", "apply_async_on_commit"):
        name = function.attr.removesuffix("_on_commit")
        text = f"Use {name}(): it is part of the transaction."
        if not is_part:
            text = f"Use transaction.on_commit() with {name}: the jobs are in another database."
        yield place.finding(call, f"{name_of(function)}()", text, STACK, Section.AROUND)
    elif function.attr == "on_commit" and call.args and is_part:
        enqueued = [each for each in ast.walk(call.args[0]) if isinstance(each, ast.Attribute)
                    and each.attr in ("delay", "apply_async")]  # fmt: skip
        if enqueued:
            text = f"Call {name_of(enqueued[0])}() itself: it is part of the transaction."
            what = f"{name_of(function)}({name_of(enqueued[0])})"
            yield place.finding(call, what, text, STACK, Section.AROUND)


def _options(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    # Many objects have a set().
    if function.attr not in _CALLS or (function.attr == "set" and not _is_signature(function)):
        return
    for name, value in options(call).items():
        if name in OPTIONS and name not in CallKeywords.__annotations__:
            text = f"{OPTIONS[name][0].upper()}{OPTIONS[name][1:]}."
            yield place.finding(
                value, f"{name}= of {name_of(function)}()", text, STACK, Section.OPTIONS
            )


def _is_signature(function: ast.Attribute) -> bool:
    """Return whether a method is that of a signature, as in ``f.s(1).set``."""
    owner = function.value
    return (
        isinstance(owner, ast.Call)
        and isinstance(owner.func, ast.Attribute)
        and owner.func.attr in _SIGNATURES
    )


def _retries(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    if function.attr != "retry" or name_of(function.value) not in ("self", "current_task"):
        return
    given = options(call)
    for name in sorted(given.keys() & _RETRY):
        text = "Use self.replace(f.s(…).set(…)) for another call: a retry is the same call again."
        yield place.finding(call, f"{name}= of {name_of(function)}()", text, STACK, Section.DIFFERS)
    throw = given.get("throw")
    if isinstance(throw, ast.Constant) and throw.value is False:
        text = "Leave it out, and catch Retry if code must follow: the attempt has ended."
        yield place.finding(call, f"throw= of {name_of(function)}()", text, STACK, Section.DIFFERS)


def _refused(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    what = f"{name_of(function)}()"
    if function.attr in INSTEAD and _is_signature(function):
        yield place.finding(call, what, f"Use {INSTEAD[function.attr]}.", STACK, Section.DIFFERS)
    elif function.attr == "subtask":
        yield place.finding(call, what, f"{ATTRIBUTES['subtask']}.", STACK, Section.DIFFERS)


def _result(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    if function.attr == "AsyncResult":
        text = "Use django_jobs.AsyncResult(id). An unknown id raises JobDoesNotExist."
        yield place.finding(call, f"{name_of(function)}()", text, STACK, Section.DIFFERS)


def _periodic(place: Place, call: ast.Call, function: ast.Attribute) -> Iterator[Finding]:
    rule = find(OF_APP, function.attr)
    if function.attr == "add_periodic_task" and rule is not None:
        name = text_of(options(call).get("name"))
        what = f"{name_of(function)}(){f' of {name!r}' if name else ''}"
        yield place.finding(call, what, rule.advice, BEAT, Section.APP)


_KINDS: tuple[Callable[[Place, ast.Call, ast.Attribute], Iterator[Finding]], ...] = (
    _on_commit, _options, _retries, _refused, _periodic,
)  # fmt: skip
