"""The rules for imports from Celery and from packages around it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ....from_celery.names import IMPORTS
from ....from_celery.table import Rule, find
from .finding import REMOVE, Finding, Place, Section
from .symbols import APP, PACKAGES, Module, Symbols, uses

# Each use of these has a finding of its own.
_TOLD_APART = ("celery.shared_task", "celery.Task", "celery.signals", "celery.Celery",
               "celery.current_app", "celery.app.task.Task")  # fmt: skip


def findings(module: Module, symbols: Symbols) -> Iterator[Finding]:
    place = Place(module.file)
    # The names of one statement with the same rule are one thing to do.
    together: dict[tuple[int, Rule], list[str]] = {}
    for node, full, local in module.import_lines:
        if full.partition(".")[0] in PACKAGES and symbols.is_library(full):
            # "import amqp" counts as one of its names.
            rule = find(IMPORTS, full) or find(IMPORTS, f"{full}.")
            if rule is None:
                continue
            name = f"{full}{_lines(module, full, local, node)}"
            together.setdefault((node.lineno, rule), []).append(name)
        elif symbols.origin(module, ast.Name(local)) == APP and isinstance(node, ast.ImportFrom):
            text = "Delete it with the app: @job needs no app object."
            yield place.finding(node, f"import of the app {local}", text, REMOVE, Section.APP)
    for (line, rule), names in together.items():
        yield place.ruled(line, f"import of {', '.join(names)}", rule, Section.IMPORTS)


def _lines(module: Module, full: str, local: str, node: ast.stmt) -> str:
    if full.startswith(_TOLD_APART):
        return ""
    lines = sorted({line for line in uses(module, local) if line != node.lineno})
    several = "s" if len(lines) > 1 else ""
    return f" (line{several} {', '.join(map(str, lines))})" if lines else ""
