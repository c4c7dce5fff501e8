"""Reads the README and the pages of ``docs`` for the tests of both languages."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from django.core.management import load_command_class

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("README*.rst")), *sorted(DOCS.rglob("*.rst"))]
CODE = re.compile(r"( *)\.\. (?:code-block:: ([\w+]+)|check:)$")
#: Comments that let something run at their place.
RUNS = {
    ".. a worker runs": "worker",
    ".. a beat runs": "beat",
    ".. the worker runs until all jobs have ended": "until",
}
ROW = re.compile(r"^   \* - ``([^`]+)``\n     - (.*)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    kind: str  # python, pycon, console, … or one of RUNS
    text: str
    line: int
    runs: bool = True
    shown: bool = True


def name_of(page: Path) -> str:
    """Return the path below ``docs``, or the README's name, without its end."""
    folder = DOCS if page.is_relative_to(DOCS) else ROOT
    return str(page.relative_to(folder).with_suffix(""))


def blocks(page: Path) -> list[Block]:
    lines, found, runs = page.read_text().splitlines(), [], True
    for number, line in enumerate(lines, 1):
        if line in RUNS:
            found.append(Block(RUNS[line], "", number))
        elif line.startswith(".. compiled only: "):
            runs = False
        elif match := CODE.match(line):
            body = list(indented(lines[number:], match[1] + " "))
            first = number + 1 + next(index for index, line in enumerate(body) if line)
            text = inspect.cleandoc("\n".join(body)) + "\n"
            found.append(Block(match[2] or "pycon", text, first, runs, match[2] is not None))
            runs = True
    return found


def indented(lines: list[str], margin: str) -> Iterator[str]:
    for line in lines:
        if line and not line.startswith(margin):
            return
        yield line


def rows(page: str) -> dict[str, str]:
    """The first two cells of each row, of all tables of the page, whose first is one literal."""
    found = ROW.findall((DOCS / page).read_text())
    assert len(found) == len(dict(found)), "two rows have the same name"
    return dict(found)


def public_modules() -> set[str]:
    """The modules that the page "API stability" lets users import."""
    return {name for name in rows("stability.rst") if name.startswith("django_jobs")}


def parser_of(command: str) -> argparse.ArgumentParser:
    return load_command_class("django_jobs", command).create_parser("manage.py", command)
