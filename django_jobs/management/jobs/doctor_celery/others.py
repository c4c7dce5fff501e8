"""Fixtures in tests, names of apps in settings, packages in requirements, and commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from ....from_celery.names import COMMANDS, FIXTURES, IMPORTS, PACKAGES
from ....from_celery.table import Rule, find
from .finding import REMOVE, Finding, Place, Section
from .symbols import Module

_REQUIREMENTS = (
    "*requirements*.txt", "*requirements*.in", "requirements/*.txt", "requirements/*.in",
    "*/requirements/*.txt", "*/requirements/*.in", "*constraints*.txt", "pyproject.toml",
    "setup.cfg", "setup.py", "Pipfile", "environment.y*ml",
)  # fmt: skip
_PROCESSES = (
    "Procfile*", "*.yml", "*.yaml", "*.service", "*.conf", "*.ini", "*.sh", "Makefile",
    "Dockerfile*", "justfile", "*.toml", "crontab",
)  # fmt: skip
# A name before a version, an extra or the end: in a line, in quotes, or before a TOML value.
_PACKAGE = re.compile(
    r"""(?:^\s*-?\s*|["'])([A-Za-z][\w.-]*)(?:\[[\w,. -]*\])?(?=\s*(?:[<>=~!;@,"']|\s#|$))"""
)
_COMMAND = re.compile(
    rf"\bcelery\b[\"',\s].*?[\s\"']({'|'.join(name for rule in COMMANDS for name in rule.names)})\b"
)
_COMMAND_AT_ONCE = re.compile(
    rf"\bcelery\s+({'|'.join(name for rule in COMMANDS for name in rule.names)})\b"
)
_LONGEST_FILE = 1_000_000


def fixtures(module: Module) -> Iterator[Finding]:
    """Yield the fixtures and marks of Celery's pytest plugin that a module uses or defines."""
    place = Place(module.file)
    for node in module.nodes:
        found: list[tuple[ast.AST, str]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = [(node, node.name), *((each, each.arg) for each in node.args.args)]
        elif isinstance(node, ast.Call):
            found = [(each, each.value) for each in node.args
                     if isinstance(each, ast.Constant) and isinstance(each.value, str)]  # fmt: skip
        for at, name in found:
            if (rule := find(FIXTURES, name)) is not None:
                yield place.ruled(at, f"fixture {name}", rule, Section.OTHERS)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.celery":
            yield place.ruled(node, "pytest.mark.celery", FIXTURES[0], Section.OTHERS)


def names(module: Module) -> Iterator[Finding]:
    """Yield the apps and plugins that a module names in texts."""
    place = Place(module.file)
    for node in module.nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        rule = find(PACKAGES, node.value) if "_" in node.value else None
        if node.value == "celery.contrib.pytest":
            rule = find(IMPORTS, node.value)
        if rule is not None:
            found = place.ruled(node, f"name {node.value!r}", rule, Section.OTHERS)
            yield place.finding(node, found.what, found.becomes, REMOVE, Section.OTHERS)


def is_text(name: str) -> bool:
    """Return whether a file has requirements or starts processes."""
    return _fits(name, _REQUIREMENTS + _PROCESSES)


def texts(path: Path, shown: str) -> Iterator[Finding]:
    """Yield the packages of a file of requirements, or the commands of a file of processes."""
    requires = _fits(shown, _REQUIREMENTS)
    if not (requires or _fits(shown, _PROCESSES)) or path.stat().st_size > _LONGEST_FILE:
        return
    place = Place(shown)
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for name, rule in _packages(line) if requires else ():
            found = place.ruled(number, f"package {name}", rule, Section.OTHERS)
            yield place.finding(number, found.what, found.becomes, REMOVE, Section.OTHERS)
        match = _COMMAND_AT_ONCE.search(line) or _COMMAND.search(line)
        command = find(COMMANDS, match[1]) if match else None
        if match and command:
            yield place.ruled(number, f"celery {match[1]}", command, Section.OTHERS)


def _packages(line: str) -> Iterator[tuple[str, Rule]]:
    for match in _PACKAGE.finditer(line):
        name = re.sub("[-_.]+", "-", match[1]).lower()
        if (rule := find(PACKAGES, name)) is not None:
            yield name, rule


def _fits(shown: str, globs: tuple[str, ...]) -> bool:
    name = shown.rpartition("/")[2]
    return any(fnmatch(shown if "/" in glob else name, glob) for glob in globs)
