"""Every message of the package is a sentence.

It begins with a capital letter, or with the name or the value that it is about, and ends with a
full stop. The texts of exceptions, of system checks with their hints, of warnings and of what
some functions return are read here, from the code.

What follows a name that somebody else writes before it (``Argument 0 is …``, ``argument --pool:
must be …``) begins as it likes. Log lines are no sentences: an event and ``key=value`` pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from django_jobs.conf import Settings
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.canvas import signature
from django_jobs.define.options import JobOptions
from django_jobs.models import Schedule
from django_jobs.schedules.rows import row_of
from tests import jobs
from tests.messages import all_messages

pytestmark = pytest.mark.once

NAMES = {
    *JobOptions.__dataclass_fields__,
    *CallKeywords.__annotations__,
    *Settings.__dataclass_fields__,
    *(field.name for field in Schedule._meta.get_fields()),
    *("cold", "django_celery_beat", "eta", "key", "latitude", "longitude", "most", "options"),
}
#: A sentence ends here, and another message may follow: ``{hint}`` or ``: {error}``.
END = re.compile(r"[.?!…:]\s*(\{[^{}]*\})?$")


ALL = [
    pytest.param(text, continued, id=f"{path}:{line}")
    for path, line, text, continued in all_messages()
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
