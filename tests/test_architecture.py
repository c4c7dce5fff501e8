"""Imports point down, also those inside functions; packages that need not know each other don't."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_jobs

pytestmark = pytest.mark.once

PACKAGE = Path(django_jobs.__file__).parent
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.rst"

# From the top to the bottom. A line imports only from the lines below it. Names on one line are
# packages, or modules beside them, that never import each other.
LINES = """
    apps | urls | jobs | templatetags | testing | middleware | embedded
    admin | management | web | checks | contrib
    worker | beat
    process
    maintenance | display
    api
    run | control
    steps
    workflows | limits | schedules | events
    enqueue
    locking
    metrics
    models
    db
    signals | log
    failure
    values
    define
    redaction | serialization | moments
    conf | transitions | from_celery
    exceptions | status | ids | backoff | suggest
"""
RANKS = {
    name.strip(): -number
    for number, line in enumerate(LINES.split("\n"))
    for name in line.split("|")
    if name.strip()
}
# What users hold starts calls: the methods of canvases and of the running job reach up for that.
SEAMS = {
    ("define.canvas", "api.calls"),
    ("define.context", "api.calls"),
    ("define.durable", "steps.calls"),
    ("define.context", "steps.children"),
    ("define.durable", "steps.children"),
    ("define.durable", "steps.iteration"),
    ("define.durable", "steps.sleeping"),
    ("define.durable_waits", "steps.approvals"),
    ("define.durable_waits", "steps.events"),
}
# A handle on a job and one on several are made of each other.
MOST_IN_A_CIRCLE = 3
# Django's entry points and the vocabulary; everything else stands in a package.
MOST_MODULES_AT_THE_TOP = 20


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it; the package itself has none."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and parts[0] != "migrations":
            found[name] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Return the package's modules that the module at *path* imports, at its top or in functions.

    Imports for type checkers do not count.
    """
    package = path.parent.relative_to(PACKAGE.parent).parts
    found = set()
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        found |= {module for name in names if (module := longest_module(name))}
    return found


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from statements(other)
        elif not isinstance(node, ast.expr):  # no expression has an import
            yield from statements(node)


def longest_module(name: str) -> str | None:
    """Return the longest module of the package that *name* begins with."""
    prefix = f"{PACKAGE.name}."
    parts = name.removeprefix(prefix).split(".") if name.startswith(prefix) else []
    every = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((each for each in every if each in MODULES), None)


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def top(name: str) -> str:
    return name.partition(".")[0]


def circles() -> list[set[str]]:
    """Return the sets of modules that all reach each other, the two seams apart."""
    below = {
        name: {other for other in others - {name} if (name, other) not in SEAMS}
        for name, others in IMPORTS.items()
    }

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        left = [name]
        while left:
            for other in below[left.pop()] - found:
                found.add(other)
                left.append(other)
        return found

    reach = {name: reached(name) for name in below}
    every = {
        frozenset({name, *(other for other in reach[name] if name in reach[other])})
        for name in below
        if name in reach[name]
    }
    return [set(each) for each in every]


def test_the_test_sees_imports_in_functions() -> None:
    assert "db" in IMPORTS["run.claim"]
    assert {(name, other) for name, others in IMPORTS.items() for other in others} >= SEAMS


def test_every_package_has_a_line() -> None:
    assert {top(name) for name in MODULES} == set(RANKS)


def test_few_modules_stand_at_the_top() -> None:
    names = [path.stem for path in PACKAGE.glob("*.py")]
    assert len(names) <= MOST_MODULES_AT_THE_TOP, sorted(names)


def test_no_module_has_a_name_of_the_standard_library() -> None:
    assert [name for name in MODULES if name.rpartition(".")[2] in sys.stdlib_module_names] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    wrong = {
        other
        for other in IMPORTS[name]
        if top(other) != top(name)
        and RANKS[top(other)] >= RANKS[top(name)]
        and (name, other) not in SEAMS
    }
    assert wrong == set()


def test_circles_are_small() -> None:
    assert [sorted(each) for each in circles() if len(each) > MOST_IN_A_CIRCLE] == []


@pytest.mark.parametrize("stage", ["run.claim", "run.execute", "run.record"])
def test_stages_of_an_attempt_do_not_know_each_other(stage: str) -> None:
    others = {"run.claim", "run.execute", "run.record"} - {stage}
    assert not IMPORTS[stage] & others


def test_page_names_files_that_exist() -> None:
    names = set(re.findall(r"``([\w/]+(?:\.py|/))``", PAGE.read_text()))
    assert len(names) > 50
    known = {name for name in names for folder in (PACKAGE, ROOT) if (folder / name).exists()}
    assert names - known == set()


def test_page_names_functions_that_exist() -> None:
    found = re.findall(r"``([\w/]+\.py)``: ((?:``\w+\(\)``(?:, )?)+)", PAGE.read_text())
    assert len(found) >= 4
    for file, functions in found:
        source = (PACKAGE / file).read_text()
        for function in re.findall(r"(\w+)\(", functions):
            assert f"def {function}(" in source, file
