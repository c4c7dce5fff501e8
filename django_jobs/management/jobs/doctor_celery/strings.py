"""Celery's names in texts: fixtures in tests, apps in settings, loggers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ....from_celery.names import FIXTURES, IMPORTS, LOGGERS, PACKAGES
from ....from_celery.table import Rule, find
from .finding import REMOVE, Finding, Place, Section, name_of, text_of
from .symbols import Module

_TEST = re.compile(r"(^|/)(tests?/.*|test_\w*|\w*_tests?|tests|conftest)\.py$")
_PLUGIN = "celery.contrib.pytest"


def findings(module: Module) -> Iterator[Finding]:
    if _TEST.search(module.file):
        yield from _fixtures(module)
    place = Place(module.file)
    for node in module.nodes:
        if isinstance(node, ast.Constant) and (rule := _app(node.value)) is not None:
            found = place.ruled(node, f"name {node.value!r}", rule, Section.OTHERS)
            yield place.finding(node, found.what, found.becomes, REMOVE, Section.OTHERS)
        for logger in _loggers(node):
            rule = find(LOGGERS, text_of(logger))
            if rule is not None:
                yield place.ruled(logger, f"logger {text_of(logger)!r}", rule, Section.OTHERS)


def _fixtures(module: Module) -> Iterator[Finding]:
    """Yield the fixtures and marks of Celery's pytest plugin that a module uses or defines."""
    place = Place(module.file)
    for node in module.nodes:
        found: list[tuple[ast.AST, str]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = [(node, node.name), *((each, each.arg) for each in node.args.args)]
        elif isinstance(node, ast.Call):
            found = [(each, text_of(each)) for each in node.args]
        for at, name in found:
            if (rule := find(FIXTURES, name)) is not None:
                yield place.ruled(at, f"fixture {name}", rule, Section.OTHERS)
        if isinstance(node, ast.Attribute) and name_of(node) == "pytest.mark.celery":
            yield place.ruled(node, "pytest.mark.celery", FIXTURES[0], Section.OTHERS)


def _app(value: object) -> Rule | None:
    """Return the rule of a text that is the name of an app or a plugin."""
    if value == _PLUGIN:
        return find(IMPORTS, _PLUGIN)
    # One word may be the name of anything.
    is_name = isinstance(value, str) and ("_" in value or value == "djcelery")
    return find(PACKAGES, str(value)) if is_name else None


def _loggers(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the names of loggers in ``LOGGING`` and in calls of ``getLogger()``."""
    names: list[ast.expr | None] = []
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if text_of(key) == "loggers" and isinstance(value, ast.Dict):
                names += value.keys
    elif isinstance(node, ast.Call) and name_of(node.func).endswith("getLogger"):
        names += node.args[:1]
    yield from (each for each in names if each is not None)
