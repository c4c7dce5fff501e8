"""Random inputs, and what each database must make of them.

The verdict on an input is computed without a database. So it is the same with each of them.
"""

from __future__ import annotations

import json
import math
import unicodedata
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

from django.db import transaction

from django_jobs import current_job, job, send_event
from django_jobs.db import clock
from django_jobs.events.delivery import take_kept
from django_jobs.exceptions import ArgumentError
from django_jobs.models import Event, Job, Schedule, UniqueKey, Worker
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.record import record
from django_jobs.schedules.crontab import parse
from django_jobs.schedules.planning import plan
from django_jobs.schedules.validation import _LONGEST_CRONTAB as LONGEST_CRONTAB
from django_jobs.schedules.validation import problems
from django_jobs.serialization import MAX_DEPTH, dumps, loads

#: What databases, drivers and collations differ about.
PIECES = (
    "a", "A", "á", "a\u0301", "ä", "ß", "ss", "İ", "i", "ı", "Ⅷ", "0", "-0", " ", "  ", "\t", "\n",
    "\r", "\0", "\x1f", "\x7f", "\x85", "\u00a0", "\u200b", "\u200f", "\u202e", "\u2028", "\ufeff",
    "\ufffe", "\ud800", "\udfff", "😀", "👩‍👩‍👧", "𝕏", "中", "한", "'", '"', "\\",
    "\\u0000", "%", "%s", "_", "`", ";", "--", "/*", "{", "}", "$1", "?", ":x", ",", "@", "!", "#",
    "null", "NaN", "x" * 60,
)  # fmt: skip
NUMBERS = (
    0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308,
    5e-324, math.inf, -math.inf, math.nan, 1e16, 123456789.123456789,
)  # fmt: skip
CRON = (
    *"0123456789*/,-?LW#hHrR@ ", "60", "61", "24", "31", "32", "13", "99999999999999999999", "mon",
    "monday", "MON", "jan", "january", "L5", "5L", "1#6", "*/0", "*/5", "1-5", "5-1", "@daily",
    "@reboot", "mon-sun", "\0", "٣", "１", "é", "  ", "\n", "--", "//", ",,", "1.5", "1e3", "inf",
)  # fmt: skip


class Inputs:
    """Makes inputs of one kind each, mostly unlike what people write."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def text(self, most: int = 6) -> str:
        random = self._random
        pieces = [random.choice(PIECES) for _ in range(random.randrange(most + 1))]
        if random.random() < 0.3:
            pieces.append(chr(random.randrange(0x110000)))
        if random.random() < 0.02:
            pieces = pieces * 60
        return "".join(pieces)

    def value(self, depth: int = 0) -> Any:
        random = self._random
        kind = random.randrange(8 if depth < 4 else 5)
        if kind >= 5 and random.random() < 0.05:
            return self.nested()
        if kind == 0:
            return random.choice((None, True, False))
        if kind == 1:
            return random.choice(NUMBERS)
        if kind == 2:
            return random.uniform(-1e9, 1e9)
        if kind < 5:
            return self.text()
        inner = [self.value(depth + 1) for _ in range(random.randrange(4))]
        return inner if kind < 7 else {self.text(2): each for each in inner}

    def nested(self) -> Any:
        found: Any = 1
        for _ in range(MAX_DEPTH + self._random.randrange(-3, 2)):
            found = [found] if self._random.random() < 0.5 else {"": found}
        return found

    def alike(self, text: str) -> str:
        """Return a text that some collation takes for *text*."""
        change: Callable[[str], str] = self._random.choice((
            str.upper, str.lower, str.swapcase, lambda t: t + " ", lambda t: " " + t,
            lambda t: unicodedata.normalize("NFD", t), lambda t: unicodedata.normalize("NFC", t),
            lambda t: t + "\u200b", lambda t: t.replace("a", "á"), lambda t: t,
        ))  # fmt: skip
        return change(text)

    def crontab(self) -> str:
        random = self._random
        if random.random() < 0.2:
            return self.text()
        fields = random.choice((5, 5, 5, 5, 1, 4, 6))
        parts = [
            "*" if random.random() < 0.4 else
            "".join(random.choice(CRON) for _ in range(random.randrange(1, 4)))
            for _ in range(fields)
        ]  # fmt: skip
        return " ".join(parts)


# --- the verdict, without a database ------------------------------------------------------------


def is_text(text: str) -> bool:
    """Tell whether all databases can hold *text*."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def fits(value: Any, depth: int) -> bool:
    """Tell whether *value* is accepted inside of so many containers."""
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return math.isfinite(value)
    inner = value if isinstance(value, list) else [*value, *value.values()]
    return depth < MAX_DEPTH and all(fits(each, depth + 1) for each in inner)


def is_queue(name: str) -> bool:
    return (
        0 < len(name) <= 100
        and name.isprintable()
        and name == name.strip()
        and "," not in name
        and name[0] not in "@!#"
    )


def is_event(name: str) -> bool:
    return 0 < len(name) <= 200 and name.isprintable() and name == name.strip()


def is_crontab(text: str) -> bool:
    """Anything but a ``ValueError`` is a defect."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def check_text_of(value: Any) -> None:
    """Check what becomes of *value* as JSON."""
    try:
        text = dumps(value, where="it", max_bytes=10_000_000)
    except ArgumentError:
        assert not fits(value, 0), value
        return
    assert fits(value, 0), value
    assert same(loads(text), value)


def same(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 is not 1.0, and 0.0 not -0.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# --- with a database ----------------------------------------------------------------------------


@job(name="tests.fuzz.echo")
def echo(value: Any) -> Any:
    return value


@job(name="tests.fuzz.fail")
def fail(number: int) -> None:
    raise RuntimeError(RAISED.pop(str(current_job.request.id)))


@job(name="tests.fuzz.unique", unique=True)
def unique(key: Any) -> None: ...


#: The texts of exceptions, which no arguments could hold.
RAISED: dict[str, str] = {}


def accepted(action: Callable[[], Any], *refusals: type[Exception]) -> Any:
    """Return what *action* returns; None if it raises one of *refusals*."""
    try:
        with transaction.atomic():
            return action()
    except refusals:
        return None


def new_worker() -> Worker:
    now = clock("default")
    return Worker.objects.create(
        name="w", hostname="host", pid=1, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=clock("default", 3600),
    )  # fmt: skip


def run_of(worker: Worker, queue: str) -> None:
    """Run the ready jobs of *queue*, and no others."""
    claimed, _contended = claim(worker.pk, [queue], 9, "default")
    assert {each.queue for each in claimed} <= {queue}
    record(worker.pk, [execute(each, Environment()) for each in claimed], "default")


def check_arguments(inputs: Inputs, worker: Worker) -> None:
    value, queue = inputs.value(), inputs.text(3)
    options: Any = {"queue": queue, "headers": {"x": inputs.text(2)}}
    expected = fits(value, 1) and is_queue(queue) and fits(options["headers"], 0)
    handle = accepted(lambda: echo.apply_async((value,), **options), ArgumentError, ValueError)
    assert (handle is not None) == expected, (value, options)
    if handle is None:
        return
    row = Job.objects.get(pk=handle.id)
    assert (same(row.args, [value]), row.headers, row.queue) == (True, options["headers"], queue)
    run_of(worker, queue)
    row = Job.objects.get(pk=handle.id)
    assert (row.status, same(row.result, value)) == ("SUCCESS", True), (value, row.error_message)


def check_result(inputs: Inputs, worker: Worker) -> None:
    """The result of a job is what its arguments could be."""
    value = inputs.value()
    text = inputs.text()
    one = fail.delay(1)
    RAISED[str(one.id)] = text
    run_of(worker, "default")
    row = Job.objects.get(pk=one.id)
    assert (row.status, row.error_class) == ("FAILURE", "builtins.RuntimeError")
    assert is_text(row.error_message)
    if is_text(text) and len(text) < 200:
        assert text in row.error_message or not text.isprintable(), text
    two = echo.delay(0)
    returned, echo.__wrapped__ = echo.__wrapped__, lambda _: value
    try:
        run_of(worker, "default")
    finally:
        echo.__wrapped__ = returned
    row = Job.objects.get(pk=two.id)
    assert row.status == ("SUCCESS" if fits(value, 0) else "FAILURE"), value
    assert row.status != "SUCCESS" or same(row.result, value)


def check_keys(inputs: Inputs, worker: Worker) -> None:
    """No database takes two keys for one."""
    one = inputs.text(3)
    other = inputs.alike(one)
    if is_text(one) and is_text(other):
        first, second = unique.delay(one), unique.delay(other)
        assert (first.id == second.id) == (one == other), (one, other)
        Job.objects.filter(pk__in=[first.id, second.id]).delete()
        UniqueKey.objects.all().delete()
    if is_queue(one) and is_queue(other) and one != other:
        mine = echo.apply_async((1,), queue=other)
        run_of(worker, one)
        assert mine.status == "PENDING", (one, other)
        run_of(worker, other)
    sent = accepted(lambda: [send_event(one, 1)], ValueError)
    assert (sent is not None) == is_event(one), one
    if sent and is_event(other):
        assert (take_kept(other, (), "default") is not None) == (one == other), (one, other)
    Event.objects.all().delete()


def check_crontab(inputs: Inputs, worker: Worker) -> None:
    """A row with a crontab that is none is disabled, and says why."""
    text = inputs.crontab()
    expected = len(text) <= LONGEST_CRONTAB and is_crontab(text)
    schedule = Schedule(name=str(uuid.uuid4()), job_name=echo.name, kind="crontab", crontab=text)
    schedule.args = [1]
    assert ("crontab" not in problems(schedule)) == expected, text
    if is_text(text) and len(text) <= 1_000:
        schedule.save()
        plan("default")
        schedule.refresh_from_db()
        assert schedule.crontab == text
        assert (schedule.enabled, bool(schedule.last_error)) == (expected, not expected), text
        schedule.delete()


CHECKS = (check_arguments, check_result, check_keys, check_crontab)
