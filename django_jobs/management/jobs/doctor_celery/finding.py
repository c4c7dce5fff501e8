"""One thing of Celery's in a project, and what to do with it."""

from __future__ import annotations

import ast
import dataclasses
import enum

from ....from_celery.table import Rule


class Section(enum.StrEnum):
    """The sections of the page "Coming from Celery", by their anchors."""

    DIFFERS = "what-differs"
    AROUND = "code-around-tasks"
    IMPORTS = "imports"
    APP = "the-app"
    OTHERS = "tests-packages-and-commands"
    OPTIONS = "options-of-tasks-and-calls"
    SETTINGS = "settings"
    SIGNALS = "signals"
    STEPS = "a-migration-step-by-step"


#: The steps of the page's "A migration, step by step".
STACK, BEAT, REMOVE = 2, 4, 6


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """A line of a file, and its replacement. Line 0 is the whole file."""

    file: str
    line: int
    what: str
    becomes: str
    step: int
    section: Section

    @property
    def docs(self) -> str:
        return f"celery.html#{self.section}"


@dataclasses.dataclass(frozen=True)
class Place:
    """A file of the project, in which the rules look for findings."""

    file: str

    def finding(
        self, at: ast.AST | int, what: str, becomes: str, step: int, section: Section
    ) -> Finding:
        line = at if isinstance(at, int) else at.lineno  # type: ignore[attr-defined]
        return Finding(self.file, line, what, becomes, step, section)

    def ruled(self, at: ast.AST | int, what: str, rule: Rule, section: Section) -> Finding:
        """Return a finding with a rule's advice: what has no replacement goes in the last step."""
        step = REMOVE if rule.is_deletable else STACK
        return self.finding(at, what, rule.advice, step, section)


def code(node: ast.AST, most: int = 60) -> str:
    """Return the source of *node* on one line, cut."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def name_of(node: ast.AST, most: int = 8) -> str:
    """Return the source of a name, an attribute or a call without its arguments.

    Of a longer chain than *most* links the start is cut.
    """
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and most:
        return f"{name_of(node.value, most - 1)}.{node.attr}"
    if isinstance(node, ast.Call) and most:
        return f"{name_of(node.func, most - 1)}(…)"
    if isinstance(node, ast.Subscript) and most:
        return f"{name_of(node.value, most - 1)}[{text_of(node.slice)!r}]"
    return "…"


def options(call: ast.expr) -> dict[str, ast.expr]:
    """Return the keyword arguments of a call by name, without ``**others``."""
    if not isinstance(call, ast.Call):
        return {}
    return {each.arg: each.value for each in call.keywords if each.arg}


def text_of(node: ast.AST | None) -> str:
    """Return a literal text, or an empty one."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
