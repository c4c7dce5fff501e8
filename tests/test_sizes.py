"""Files, functions and classes stay small enough to be read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_jobs

pytestmark = pytest.mark.once

PACKAGE = Path(django_jobs.__file__).parent
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_CLASS = 300, 45, 200

ALGEBRA = "a canvas and its kinds are defined by each other"
EXCEPTIONS = {
    "define/canvas.py": ALGEBRA,
}


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def long_ones() -> Iterator[str]:
    """Yield each file, function and class that is too long: ``run/claim.py``, ``…::claim``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text()
        if len(text.splitlines()) > MOST_LINES_OF_A_FILE:
            yield name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                if lines(node) > MOST_LINES_OF_A_CLASS:
                    yield f"{name}::{node.name}"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                lines(node) > MOST_LINES_OF_A_FUNCTION
            ):
                yield f"{name}::{node.name}"


def test_files_functions_and_classes_are_short() -> None:
    assert sorted(set(long_ones()) - EXCEPTIONS.keys()) == []
