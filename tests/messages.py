"""Reads the messages of the package from its code, without importing it.

The test of their wording uses it, and the page "Messages" of the documentation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "django_jobs"
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
CHECKS = {"checks.Error", "checks.Warning", "CommandError", "warnings.warn"}
#: Python's own wording, and what nobody reads.
OTHERS = {"AttributeError", "AssertionError", "Http404"}
#: Functions that return messages.
TELLS = re.compile("problem|missing|misplaced|refusals|unable|no_job|no_attribute|unknown_[qfl]")
#: Somebody else writes a name before these.
CONTINUED = {"_Refusal", "argparse.ArgumentTypeError"}


def text_of(node: ast.AST, placeholder: str | None = None) -> Iterator[str]:
    """Yield the texts that *node* may be; a value in them is *placeholder*, or ``{code}``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value)
            if isinstance(part, ast.Constant)
            else placeholder or f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from text_of(node.body, placeholder)
        yield from text_of(node.orelse, placeholder)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from text_of(element, placeholder)
    elif isinstance(node, ast.ListComp):
        yield from text_of(node.elt, placeholder)
    elif isinstance(node, ast.BinOp):
        yield from text_of(node.left, placeholder)
    elif isinstance(node, ast.Call) and dotted(node.func) in MARKS:
        yield from text_of(node.args[0], placeholder)


def dotted(node: ast.AST) -> str:
    """Return a name, with those of what it is an attribute of; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def messages(
    tree: ast.AST, within: str = "", placeholder: str | None = None
) -> Iterator[tuple[int, str, bool]]:
    """Yield the line of each message, its text, and whether something stands before it."""
    for node in ast.iter_child_nodes(tree):
        found: list[ast.AST] = []
        name = ""
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name, found = dotted(node.exc.func), list(node.exc.args[:1])
        elif isinstance(node, ast.Call) and dotted(node.func) in CHECKS:
            found = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "hint")]
        elif TELLS.search(within) and isinstance(node, ast.Return | ast.Yield) and node.value:
            found = [node.value]
        elif (
            TELLS.search(within) and isinstance(node, ast.Call) and "append" in ast.dump(node.func)
        ):
            found = list(node.args)
        for part in found if name not in OTHERS else []:
            for text in text_of(part, placeholder):
                yield node.lineno, text, name in CONTINUED  # type: ignore[attr-defined]
        function = node.name if isinstance(node, ast.FunctionDef) else within
        yield from messages(node, function, placeholder)


@cache
def all_messages(placeholder: str | None = None) -> list[tuple[str, int, str, bool]]:
    """Return what ``messages()`` yields for each file, with its path below the package."""
    return [
        (str(path.relative_to(PACKAGE)), line, text, continued)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text, continued in messages(ast.parse(path.read_text()), "", placeholder)
        if " " in text
    ]
