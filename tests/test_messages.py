"""Every message of the package is a sentence.

It begins with a capital letter, or with the name or the value that it is about, and ends with a
full stop. The texts of exceptions, of system checks with their hints, of warnings and of what
some functions return are read here, from the code.

What follows a name that somebody else writes before it (``Argument 0 is …``, ``argument --pool:
must be …``) begins as it likes. Log lines are no sentences: an event and ``key=value`` pairs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import django_jobs
from django_jobs.conf import Settings
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.canvas import signature
from django_jobs.define.options import JobOptions
from django_jobs.models import Schedule
from django_jobs.schedules.rows import row_of
from tests import jobs

PACKAGE = Path(django_jobs.__file__).parent
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
CHECKS = {"checks.Error", "checks.Warning", "CommandError", "warnings.warn"}
#: Python's own wording, and what nobody reads.
OTHERS = {"AttributeError", "AssertionError", "Http404"}
#: Functions that return messages.
TELLS = re.compile("problem|missing|misplaced|refusals|unable|no_job|no_attribute|unknown_[qfl]")
#: Somebody else writes a name before these.
CONTINUED = {"_Refusal", "argparse.ArgumentTypeError"}
NAMES = {
    *JobOptions.__dataclass_fields__,
    *CallKeywords.__annotations__,
    *Settings.__dataclass_fields__,
    *(field.name for field in Schedule._meta.get_fields()),
    *("cold", "django_celery_beat", "eta", "key", "latitude", "longitude", "most", "options"),
}
#: A sentence ends here, and another message may follow: ``{hint}`` or ``: {error}``.
END = re.compile(r"[.?!…:]\s*(\{[^{}]*\})?$")


def text_of(node: ast.AST) -> Iterator[str]:
    """Yield the texts that *node* may be; a value in them is written as ``{code}``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from text_of(node.body)
        yield from text_of(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from text_of(element)
    elif isinstance(node, ast.ListComp):
        yield from text_of(node.elt)
    elif isinstance(node, ast.BinOp):
        yield from text_of(node.left)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in MARKS:
        yield from text_of(node.args[0])


def messages(tree: ast.AST, within: str = "") -> Iterator[tuple[int, str, bool]]:
    """Yield the line of each message, its text, and whether something stands before it."""
    for node in ast.iter_child_nodes(tree):
        found: list[ast.AST] = []
        name = ""
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name, found = ast.unparse(node.exc.func), list(node.exc.args[:1])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CHECKS:
            found = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "hint")]
        elif TELLS.search(within) and isinstance(node, ast.Return | ast.Yield) and node.value:
            found = [node.value]
        elif (
            TELLS.search(within) and isinstance(node, ast.Call) and "append" in ast.dump(node.func)
        ):
            found = list(node.args)
        for part in found if name not in OTHERS else []:
            for text in text_of(part):
                yield node.lineno, text, name in CONTINUED  # type: ignore[attr-defined]
        function = node.name if isinstance(node, ast.FunctionDef) else within
        yield from messages(node, function)


ALL = [
    pytest.param(text, continued, id=f"{path.relative_to(PACKAGE)}:{line}")
    for path in sorted(PACKAGE.rglob("*.py"))
    for line, text, continued in messages(ast.parse(path.read_text()))
    if " " in text
]


def test_the_messages_are_found() -> None:
    found = {str(parameter.values[0]) for parameter in ALL}
    assert len(found) > 225
    assert "Use PostgreSQL, MariaDB, MySQL or SQLite." in found
    assert "is {type_of(value)}, which cannot be stored as JSON. {_advice(value)}." in found
    assert "concurrency must be a whole number ≥ 1 or None, got {number}." in found


@pytest.mark.parametrize(("text", "continued"), ALL)
def test_message_is_a_sentence(text: str, continued: bool) -> None:
    first = text.split()[0].rstrip(",:;")
    is_name = first in NAMES or re.search(r"[_(=.]", first) is not None
    assert continued or not text[0].islower() or is_name, "it begins with a capital or a name"
    assert END.search(text), "it ends with a full stop"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: jobs.add.delay_many(["s3cret"]),
        lambda: signature({"task": "tests.jobs.add", "arguments": ["s3cret"]}),
        lambda: Schedule(args="s3cret").arguments,
        lambda: row_of(Schedule(job_name="tests.jobs.add", headers=["s3cret"])),
    ],
    ids=["delay_many", "signature", "args", "headers"],
)
def test_message_shows_no_argument(refused: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        refused()
    assert "s3cret" not in str(caught.value)
