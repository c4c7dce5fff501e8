"""Imports point down only, and the stages of a job's life do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_jobs

pytestmark = pytest.mark.once

PACKAGE = Path(django_jobs.__file__).parent

# From the bottom to the top. A module may import from its own layer and from those below.
LAYERS: list[set[str]] = [
    {
        "backoff", "conf", "context", "exceptions", "failure", "forks", "from_celery", "ids",
        "limits", "links", "log", "moments", "near", "printed", "rates", "redaction", "registry",
        "routing",
        "row_options", "rules", "schedules", "serialization", "shown_code", "signals", "status",
        "tally", "values",
    },
    {"dialects"},
    {"models"},
    {
        "admit", "call", "calls", "claim", "classify", "commands", "define", "eager", "enqueue",
        "execute", "fitting",
        "keys", "limiting", "measure", "moving", "operate", "options", "places", "rebuild",
        "record", "reservations", "result", "unique", "canvas",
        "dependents", "family", "handover", "jobs", "locking", "notify", "plan", "replace",
        "resultset", "retention", "revive", "upstream", "waiting", "workflow",
    },
    {
        "maintenance", "worker", "beat", "counts", "durations", "known", "overview", "presentation",
        "state", "statistics", "tree",
    },
    {
        "admin", "apps", "checks", "contrib", "management", "pytest_plugin", "templatetags",
        "testing", "urls", "views",
    },
]  # fmt: skip
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# It hands out the public names, lazily and by name.
EXEMPT = {"__init__", "migrations"}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        if parts[0] not in EXEMPT:
            found[name] = path
    return found


MODULES = modules()


def imported(path: Path, everywhere: bool = False) -> Iterator[str]:
    """The package's modules that the module at *path* imports when it is loaded.

    With *everywhere* also those that its functions import; never those for type checkers.
    """
    tree = ast.parse(path.read_text())
    package = path.parent.relative_to(PACKAGE.parent).parts
    for node in statements(tree, everywhere):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        for name in names:
            yield from known(name)


def statements(tree: ast.AST, everywhere: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from statements(other, everywhere)
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(node, everywhere)


def known(name: str) -> Iterator[str]:
    """The longest module of the package that *name* begins with."""
    prefix = f"{PACKAGE.name}."
    parts = name.removeprefix(prefix).split(".") if name.startswith(prefix) else []
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in MODULES:
            yield ".".join(parts[:length])
            return


def reached(name: str, everywhere: bool = False) -> set[str]:
    """All modules that are loaded with *name*."""
    found: set[str] = set()
    left = [name]
    while left:
        for other in imported(MODULES[left.pop()], everywhere):
            if other not in found:
                found.add(other)
                left.append(other)
    return found


def layer_of(name: str) -> int:
    return RANKS[name.partition(".")[0]]


def test_the_test_sees_the_imports() -> None:
    assert "dialects" in set(imported(MODULES["claim"]))
    assert "calls" not in set(imported(MODULES["canvas"]))
    assert "calls" in set(imported(MODULES["canvas"], everywhere=True))
    assert "status" in reached("record")


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in MODULES}))
def test_module_has_a_layer(name: str) -> None:
    assert name in RANKS, f"say in LAYERS where {name} stands"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    upwards = [other for other in imported(MODULES[name]) if layer_of(other) > layer_of(name)]
    assert upwards == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_make_no_circle(name: str) -> None:
    # A package's __init__ gathers its modules, which may name it again.
    assert name not in reached(name) or "." in name or MODULES[name].name == "__init__.py"


@pytest.mark.parametrize("stage", ["claim", "execute", "record"])
def test_stages_do_not_know_each_other(stage: str) -> None:
    assert not reached(stage) & ({"claim", "execute", "record"} - {stage})


def test_admin_never_imports_the_worker() -> None:
    pages = [name for name in MODULES if name.partition(".")[0] == "admin"]
    seen = {
        other
        for name in pages
        for other in imported(MODULES[name], everywhere=True)
        if other.partition(".")[0] == "worker"
    }
    assert pages
    assert seen == set()
    loaded = {other.partition(".")[0] for name in pages for other in reached(name)}
    assert "worker" not in loaded
