"""The tables of the page "Coming from another queue" name what exists here."""

from __future__ import annotations

import re

import pytest
from django.dispatch import Signal

import django_jobs
from django_jobs import models, signals, testing
from django_jobs.api.job import JobFunction
from django_jobs.api.result import AsyncResult
from django_jobs.beat.sync import OPTIONS
from django_jobs.conf import Settings
from django_jobs.control import schedules
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.current import Request
from django_jobs.define.options import JobOptions
from tests.pages import DOCS, parser_of

pytestmark = pytest.mark.once

ROWS = re.compile(r"^   \* - (.+?)\n     - (.+?)(?=\n   \* - |\n\n)", re.MULTILINE | re.DOTALL)
WORDS = re.compile(r"(?<![\w.-])-{0,2}[A-Za-z][\w-]*|(?<=\.)[a-z]\w*")
#: What a literal has besides: names of Python and Django, and of the examples.
OTHERS = {"self", "raise", "Exception", "True", "False", "manage", "py", "id"}
EXAMPLES = {"f", "g", "calls", "when", "high", "default", "mail"}
POOLS = {"prefork", "threads", "asyncio", "gevent", "solo"}


def names() -> set[str]:
    worker, jobs = parser_of("runworker"), parser_of("jobs")
    verbs = next(action for action in jobs._actions if action.dest == "verb").choices
    found = {"runworker", "jobs", "schedules", *POOLS, *(verbs or ()), *OPTIONS}
    found |= {flag for action in worker._actions for flag in action.option_strings}
    found |= {*django_jobs.__all__, *testing.__all__, *dir(schedules)}
    found |= {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    for owner in (JobFunction, AsyncResult, django_jobs.JobContext, Request, models):
        found |= {name for name in dir(owner) if not name.startswith("_")}
    found |= {field.name for field in models.Schedule._meta.fields}
    found |= {*JobOptions.__dataclass_fields__, *CallKeywords.__annotations__}
    found |= {
        "day_of_month",
        "month_of_year",
        "hour",
        "minute",
        "timeout",
        "meta",
        "args",
        "kwargs",
    }
    found |= {name.upper() for name in Settings.__dataclass_fields__}
    return found | {"CONCURRENCY", "MAX_JOBS_PER_CHILD", "MAX_MEMORY_PER_CHILD"}


def test_tables_name_what_exists() -> None:
    text = (DOCS / "coming_from.rst").read_text()
    cells = [here for _there, here in ROWS.findall(text) if here != "Here"]
    assert len(cells) > 90
    literals = [literal for cell in cells for literal in re.findall("``(.+?)``", cell)]
    known = names() | OTHERS | EXAMPLES
    unknown = {
        literal: words - known
        for literal in literals
        if (words := set(WORDS.findall(re.sub(r'"[^"]*"', "", literal)))) - known
    }
    assert unknown.keys() == {"django_jobs.contrib.django_tasks.DatabaseBackend"}
    assert WORDS.findall("f.apply_async((7,), countdown=60)") == ["f", "apply_async", "countdown"]


def test_comparison_links_what_was_read_of_each_queue() -> None:
    text = (DOCS / "comparison.rst").read_text()
    sections = re.split(r"^(\S.*)\n-{3,}$", text, flags=re.MULTILINE)[1:]
    titles = sections[::2]
    assert len(titles) > 10
    assert [
        title for title, body in zip(titles, sections[1::2], strict=True) if "`__" not in body
    ] == []
