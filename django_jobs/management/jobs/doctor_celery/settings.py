"""Celery's settings: in settings modules, in tests, in the app's ``conf`` and in its arguments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.conf import settings as django_settings

from ....conf import SETTING
from ....from_celery.settings import SETTINGS, setting_of
from ....from_celery.table import Rule, find
from .beat_entries import entries
from .finding import BEAT, REMOVE, Finding, Place, Section, name_of, options, text_of
from .symbols import APP, Module, Symbols

_ARGUMENTS = {"broker": "broker_url", "backend": "result_backend"}
# Arguments of Celery() that are no settings.
_OTHERS = {
    "main",
    "loader",
    "set_as_current",
    "fixups",
    "namespace",
    "config_source",
    "strict_typing",
}
_SCHEDULE = "beat_schedule"
_KEY = re.compile(rf"{SETTING}\['(\w+)'\](?:\['(\w+)'\])?")


class _Setting(NamedTuple):
    """A setting at a node of the source; *value* is None where it is only read."""

    node: ast.AST
    what: str
    name: str
    value: ast.expr | None


def namespaces(symbols: Symbols) -> set[str]:
    """Return the namespaces that apps give to ``config_from_object()``."""
    found = {"CELERY"}
    for module in symbols.modules:
        for call in _calls(module, symbols, f"{APP}.config_from_object"):
            found.add(text_of(options(call).get("namespace")))
    return found - {""}


def configurations(symbols: Symbols) -> set[tuple[str, str]]:
    """Return the file, and the class or "", of what ``config_from_object()`` names by itself."""
    found = set()
    for module in symbols.modules:
        for call in _calls(module, symbols, f"{APP}.config_from_object"):
            if not call.args or options(call).get("namespace"):
                continue
            target = call.args[0]
            if isinstance(target, ast.Name) and target.id in module.classes:
                found.add((module.file, target.id))
            name, _colon, attribute = text_of(target).partition(":")
            if name and (other := symbols.module(name)):
                found.add((other.file, attribute))
    return found


def findings(
    module: Module, symbols: Symbols, prefixes: set[str], configured: set[tuple[str, str]]
) -> Iterator[Finding]:
    place = Place(module.file)
    for setting in _settings(module, symbols, prefixes, configured):
        if setting.name == _SCHEDULE and setting.value is not None:
            yield from entries(place, setting.value)
        rule = find(SETTINGS, setting.name)
        if rule is None:
            text = "Delete it with the code that reads it: Celery has no such setting."
            yield place.finding(setting.node, setting.what, text, REMOVE, Section.SETTINGS)
            continue
        # In a test the setting holds for the test only.
        if isinstance(setting.node, ast.Name) and (key := _is_set(rule)):
            text = f"Delete it when no Celery worker needs it: {key} is set."
            yield place.finding(setting.node, setting.what, text, REMOVE, Section.SETTINGS)
            continue
        found = place.ruled(setting.node, setting.what, rule, Section.SETTINGS)
        step = BEAT if setting.name.startswith("beat_") and not rule.is_deletable else found.step
        yield place.finding(setting.node, setting.what, found.becomes, step, Section.SETTINGS)


def _is_set(rule: Rule) -> str:
    """Return the key of ``DJANGO_JOBS`` that replaces a setting, if the project has it."""
    given = getattr(django_settings, SETTING, None)
    if not isinstance(given, Mapping):
        return ""
    for key, inner in _KEY.findall(rule.text):
        value = given.get(key)
        if key in given and (not inner or (isinstance(value, Mapping) and inner in value)):
            return f"{SETTING}['{key}']" + (f"['{inner}']" if inner else "")
    return ""


def _settings(
    module: Module, symbols: Symbols, prefixes: set[str], configured: set[tuple[str, str]]
) -> Iterator[_Setting]:
    for node in module.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from _of_target(module, symbols, prefixes, target, node.value)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield from _named(prefixes, node, node.attr, name_of(node), None)
        elif isinstance(node, ast.Call):
            yield from _of_call(module, symbols, prefixes, node)
    yield from _of_configuration(module, configured)


def _of_target(
    module: Module, symbols: Symbols, prefixes: set[str], target: ast.expr, value: ast.expr | None
) -> Iterator[_Setting]:
    if isinstance(target, ast.Name):
        yield from _named(prefixes, target, target.id, target.id, value)
        if target.id in prefixes and isinstance(value, ast.Dict):  # CELERY = {"task_routes": …}
            yield from _of_dict(value, target.id)
    elif isinstance(target, ast.Attribute):
        if symbols.origin(module, target.value) == f"{APP}.conf":
            yield _Setting(target, name_of(target), _of_conf(target.attr), value)
        else:
            yield from _named(prefixes, target, target.attr, name_of(target), value)
    elif isinstance(target, ast.Subscript):
        key, owner = text_of(target.slice), target.value
        if symbols.origin(module, owner) == f"{APP}.conf":
            yield _Setting(target, name_of(target), _of_conf(key), value)
            return
        yield from _named(prefixes, target, key, name_of(target), value)
        if _names_schedule(owner, prefixes) and value is not None:
            yield _Setting(target, name_of(target), _SCHEDULE, ast.Dict([target.slice], [value]))


def _of_call(
    module: Module, symbols: Symbols, prefixes: set[str], call: ast.Call
) -> Iterator[_Setting]:
    is_app = symbols.origin(module, call) == APP
    updates = symbols.origin(module, call.func) == f"{APP}.conf.update"
    where = f"{name_of(call.func)}()"
    for name, value in options(call).items():
        if updates or (is_app and name not in _OTHERS):
            own = _ARGUMENTS.get(name) or _of_conf(name)
            yield _Setting(value, f"{name}= of {where}", own, value)
        else:
            yield from _named(prefixes, value, name, f"{name}=", value)
    function = call.func
    is_update = isinstance(function, ast.Attribute) and function.attr == "update"
    for given in call.args if is_update else ():
        if updates and isinstance(given, ast.Dict):
            yield from _of_dict(given, where)
        elif _names_schedule(function.value, prefixes):  # type: ignore[attr-defined]
            yield _Setting(call, name_of(function), _SCHEDULE, given)


def _of_dict(given: ast.Dict, where: str) -> Iterator[_Setting]:
    for key, value in zip(given.keys, given.values, strict=True):
        if key is not None and text_of(key):
            yield _Setting(key, f"{text_of(key)!r} of {where}", _of_conf(text_of(key)), value)


def _of_conf(name: str) -> str:
    """Return Celery's present name of a key of ``conf``, which may have an old one."""
    return setting_of(name) or name.lower() if name.isupper() else name


def _of_configuration(module: Module, configured: set[tuple[str, str]]) -> Iterator[_Setting]:
    for file, owner in configured:
        if file != module.file or (owner and owner not in module.classes):
            continue
        for node in module.classes[owner].body if owner else module.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    # A configuration has names of its own, too.
                    if isinstance(target, ast.Name) and find(SETTINGS, target.id):
                        yield _Setting(target, target.id, target.id, node.value)


def _named(
    prefixes: set[str], node: ast.AST, name: str, what: str, value: ast.expr | None
) -> Iterator[_Setting]:
    """Yield the setting if *name* is one of a Django project's."""
    if not name.isupper():
        return
    known = [setting_of(name, prefix) for prefix in sorted(prefixes)]
    found = [each for each in known if each is not None]
    # An unknown name that is only read may be anything.
    if found and (any(found) or isinstance(node, ast.Name)):
        yield _Setting(node, what, next(filter(None, found), ""), value)


def _names_schedule(owner: ast.expr, prefixes: set[str]) -> bool:
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    known = [setting_of(name, prefix) for prefix in prefixes if name.isupper()]
    return _SCHEDULE in [*known, name]


def _calls(module: Module, symbols: Symbols, origin: str) -> Iterator[ast.Call]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and symbols.origin(module, node.func) == origin:
            yield node
