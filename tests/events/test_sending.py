"""Events that are sent outside of a transaction: PostgreSQL commits and offers them at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from django_jobs import JobContext, job, send_event
from django_jobs.db.past_cursors import UNPREPARED
from django_jobs.define.envelopes import MARK
from django_jobs.models import Event, EventWait, Job, Step
from django_jobs.status import Status
from django_jobs.values import Outcome
from tests.db.test_direct import pass_on, sent

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "a'b\\c\"d%s$1 äöü 名"
PAYLOADS = [None, 7, TEXT, {TEXT: [TEXT, None]}, {MARK: "like an envelope"}]


@pytest.fixture
def wait(registered: Any, work: Callable[..., list[Outcome]]) -> Callable[..., None]:
    """Have a job wait for an event."""

    def wait(**options: Any) -> None:
        @job(name="tests.sending.wait", bind=True, **options)
        def waits(self: JobContext) -> Any:
            return self.wait_for_event("paid", timeout=3_600)

        waits.delay()
        work()

    return wait


def columns() -> list[dict[str, Any]]:
    """The step, without what differs between two jobs."""
    rows = list(Step.objects.order_by("id").values())
    for row in rows:
        times = [row.pop(name) for name in ("began_at", "ended_at")]
        assert times == sorted(times)
        del row["id"], row["job_id"]
    return rows


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("times", [1, UNPREPARED + 1])
def test_waiting_job_goes_on_as_after_a_transaction(
    wait: Any, work: Any, payload: Any, times: int
) -> None:
    for _ in range(times - 1):
        send_event("other", keep=0)
    wait()
    with transaction.atomic():
        send_event("paid", payload)
    (expected,) = work()
    before = columns()
    Job.objects.all().delete()
    wait()
    send_event("paid", payload)
    assert list(Job.objects.values_list("status", flat=True)) == [Status.PENDING]
    assert not Event.objects.filter(name="paid").exists()
    assert not EventWait.objects.exists()
    (outcome,) = work()
    assert outcome.value == expected.value == payload
    assert columns() == before


def test_event_that_nobody_waits_for_is_kept(wait: Any, work: Any) -> None:
    send_event("paid", TEXT, keep=60)
    event = Event.objects.get()
    assert (event.payload, event.broadcast, event.is_new) == (TEXT, False, False)
    assert round((event.expires_at - event.sent_at).total_seconds()) == 60
    wait()
    assert [outcome.value for outcome in work()] == [TEXT]


def test_job_that_waits_the_longest_takes_it(wait: Any, work: Any) -> None:
    wait()
    wait()
    send_event("paid", 1)
    assert list(Job.objects.order_by("id").values_list("status", flat=True)) == [
        Status.PENDING, Status.WAITING
    ]  # fmt: skip


def test_job_that_encrypts_has_it_encrypted(wait: Any, work: Any, settings: Any) -> None:
    from cryptography.fernet import Fernet

    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    wait(encrypt=True)
    send_event("paid", TEXT)
    assert list(Step.objects.get().result) == [MARK]
    assert [outcome.value for outcome in work()] == [TEXT]


def test_event_is_one_round_trip(wait: Any, tmp_path: Path, vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("the other databases have Django's cursors only")
    connection.close()
    wait()
    for number in range(UNPREPARED + 1):
        send_event(f"other {number}")
    messages = sent(lambda: send_event("paid", 1), tmp_path)
    assert messages == ["Bind", "Describe", "Execute"] * 4 + ["Sync"]
    assert Job.objects.get().status == Status.PENDING


def test_event_is_offered_again_when_its_first_offer_fails(
    wait: Any, work: Any, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vendor != "postgresql":
        pytest.skip("the other databases have Django's cursors only")
    broken = b"SELECT 1 / length(left($1, 0)) + length($2)"
    monkeypatch.setattr("django_jobs.db.postgresql.OFFER_EVENT", broken)
    wait()
    send_event("paid", 3)
    assert [outcome.value for outcome in work()] == [3]


def test_execute_wrapper_sees_the_statements(wait: Any) -> None:
    seen: list[str] = []

    def watch(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        seen.append(sql)
        return pass_on(execute, sql, *rest)

    wait()
    with connection.execute_wrapper(watch):
        send_event("paid")
    assert [sql for sql in seen if "INSERT INTO" in sql and "django_jobs_event" in sql]
    assert Job.objects.get().status == Status.PENDING
