"""Files that are not Python: packages in requirements, and commands that start processes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from ....from_celery.names import COMMANDS, PACKAGES
from ....from_celery.table import Rule, find
from .finding import REMOVE, Finding, Place, Section

_REQUIREMENTS = (
    "*requirements*.txt", "*requirements*.in", "requirements/*.txt", "requirements/*.in",
    "*/requirements/*.txt", "*/requirements/*.in", "*constraints*.txt", "pyproject.toml",
    "setup.cfg", "setup.py", "Pipfile", "environment.y*ml",
)  # fmt: skip
_PROCESSES = (
    "Procfile*", "*.yml", "*.yaml", "*.service", "*.conf", "*.ini", "*.sh", "Makefile",
    "Dockerfile*", "justfile", "*.toml", "crontab",
    "*.bash", "start", "start-*", "entrypoint", "run",
)  # fmt: skip
# A name before a version, an extra or the end: in a line, in quotes, or before a TOML value.
_PACKAGE = re.compile(
    r"""(?:^\s*-?\s*|["'])([A-Za-z][\w.-]*)(?:\[[\w,. -]*\])?(?=\s*(?:[<>=~!;@,"']|\s#|$))"""
)
_VERBS = "|".join(name for rule in COMMANDS for name in rule.names)
# "celery worker", "celery -A shop worker", or a list of such texts; also celery.__main__.main.
_COMMAND = re.compile(rf"\bcelery(?:\.__main__[\w.]*)?[\"',\s](?:.*?[\s\"'])??({_VERBS})\b")


def is_text(name: str) -> bool:
    """Return whether a file has requirements or starts processes."""
    return _fits(name, _REQUIREMENTS + _PROCESSES)


def texts(path: Path, shown: str) -> Iterator[Finding]:
    """Yield the packages in a file of requirements, and the commands in a file of processes."""
    requires = _fits(shown, _REQUIREMENTS)
    place = Place(shown)
    for number, line in enumerate(_lines(path), 1):
        if line.lstrip().startswith("#"):
            continue
        for name, rule in _packages(line) if requires else ():
            found = place.ruled(number, f"package {name}", rule, Section.OTHERS)
            yield place.finding(number, found.what, found.becomes, REMOVE, Section.OTHERS)
        match = _COMMAND.search(line)
        command = find(COMMANDS, match[1]) if match else None
        if match and command:
            yield place.ruled(number, f"celery {match[1]}", command, Section.OTHERS)


def _lines(path: Path) -> list[str]:
    data = path.read_bytes()
    # As "pip freeze >" writes it in PowerShell.
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    return data.decode(encoding, errors="replace").splitlines()


def _packages(line: str) -> Iterator[tuple[str, Rule]]:
    for match in _PACKAGE.finditer(line):
        name = re.sub("[-_.]+", "-", match[1]).lower()
        if (rule := find(PACKAGES, name)) is not None:
            yield name, rule


def _fits(shown: str, globs: tuple[str, ...]) -> bool:
    name = shown.rpartition("/")[2]
    return any(fnmatch(shown if "/" in glob else name, glob) for glob in globs)
