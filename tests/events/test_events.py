"""Events: sent before and after a job waits, taken once or by all, kept, timed out, revoked."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import (
    ArgumentError,
    EventTimeout,
    JobContext,
    asend_event,
    chain,
    control,
    current_job,
    job,
    send_event,
)
from django_jobs.api.result import AsyncResult
from django_jobs.events.delivery import look
from django_jobs.events.ending import End, end_waits
from django_jobs.maintenance import events, unblock
from django_jobs.models import Event, EventWait, Job, Step
from django_jobs.status import Status
from django_jobs.testing import run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

DAY = datetime.timedelta(days=1)


def waiting_job(name: str = "paid:42", **options: Any) -> Any:
    """Return a job function that waits for the event *name*, and returns its payload."""

    @job(name="tests.waits", bind=True)
    def waits(self: JobContext) -> Any:
        return self.wait_for_event(name, **options)

    return waits


def state(result: AsyncResult[Any]) -> str:
    return Job.objects.get(pk=result.uuid).status


def value(result: AsyncResult[Any]) -> Any:
    return Job.objects.get(pk=result.uuid).result


# --- the meeting ----------------------------------------------------------------------------------


def test_event_wakes_the_job_that_waits() -> None:
    result = waiting_job().delay()
    run_jobs()
    assert state(result) == Status.WAITING
    send_event("paid:42", {"amount": 7})
    run_jobs(until=result)
    assert value(result) == {"amount": 7}
    row = Job.objects.get(pk=result.uuid)
    assert (row.status, row.retries, row.claims) == (Status.SUCCESS, 0, 2)
    assert not EventWait.objects.exists()
    assert not Event.objects.exists()


def test_event_before_the_wait_is_kept_and_taken_once() -> None:
    send_event("paid:42", 1)
    waits = waiting_job()
    first, second = waits.delay(), waits.delay()
    run_jobs()
    assert (value(first), state(second)) == (1, Status.WAITING)
    assert not Event.objects.exists()


def test_wait_looks_for_an_event_that_is_kept_as_soon_as_it_is_committed(
    work: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        send_event("paid:42", 1)
    result = waiting_job().delay()
    with django_capture_on_commit_callbacks(execute=True):
        work()
    assert state(result) == Status.PENDING


def test_job_that_waits_the_longest_comes_first() -> None:
    waits = waiting_job()
    results = []
    for _ in range(3):
        results.append(waits.delay())
        run_jobs()
    for number in range(3):
        send_event("paid:42", number)
    run_jobs()
    assert [value(each) for each in results] == [0, 1, 2]


def test_events_of_one_name_come_in_their_order() -> None:
    @job(name="tests.twice", bind=True)
    def twice(self: JobContext) -> list[Any]:
        return [self.wait_for_event("line"), self.wait_for_event("line")]

    for number in range(3):
        send_event("line", number)
    result = twice.delay()
    run_jobs(until=result)
    assert value(result) == [0, 1]
    assert [event.payload for event in Event.objects.all()] == [2]


def test_other_names_wake_nobody() -> None:
    result = waiting_job().delay()
    run_jobs()
    for name in ("paid:4", "paid:421", "Paid:42"):
        send_event(name)
    run_jobs()
    assert state(result) == Status.WAITING


def test_rollback_sends_nothing() -> None:
    result = waiting_job().delay()
    run_jobs()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send_event("paid:42")
        _ = 1 / 0
    run_jobs()
    assert state(result) == Status.WAITING


def test_current_job_waits_too() -> None:
    @job(name="tests.plain")
    def plain() -> Any:
        return current_job.wait_for_event("paid:42")

    result = plain.delay()
    run_jobs()
    send_event("paid:42", "yes")
    run_jobs(until=result)
    assert value(result) == "yes"


def test_coroutine_waits_too() -> None:
    @job(name="tests.coroutine", bind=True)
    async def coroutine(self: JobContext) -> Any:
        return await self.await_for_event("paid:42")

    result = coroutine.delay()
    run_jobs()
    send_event("paid:42", "yes")
    run_jobs(until=result)
    assert value(result) == "yes"


@pytest.mark.django_db(transaction=True)
def test_asynchronous_twin_sends() -> None:
    async_to_sync(asend_event)("paid:42", 5)
    assert Event.objects.get().payload == 5


# --- broadcasts -----------------------------------------------------------------------------------


def test_broadcast_reaches_all_who_wait_and_who_come_later() -> None:
    waits = waiting_job("open")
    early = [waits.delay(), waits.delay()]
    run_jobs()
    send_event("open", "now", broadcast=True)
    run_jobs()
    late = waits.delay()
    run_jobs()
    assert [value(each) for each in (*early, late)] == ["now"] * 3
    assert Event.objects.count() == 1


def test_broadcast_takes_as_many_statements_for_many_jobs() -> None:
    waits = waiting_job("open")

    def statements(number: int) -> int:
        results = [waits.delay() for _ in range(number)]
        run_jobs()
        send_event("open", keep=0, broadcast=True)
        with CaptureQueriesContext(connection) as captured:
            events.meet("default")
        assert {state(each) for each in results} == {Status.PENDING}
        run_jobs()
        return len(captured)

    assert statements(3) == statements(9)


def test_job_takes_each_broadcast_once() -> None:
    @job(name="tests.listens", bind=True)
    def listens(self: JobContext) -> list[Any]:
        return [self.wait_for_event("news") for _ in range(3)]

    send_event("news", 1, broadcast=True)
    send_event("news", 2, broadcast=True)
    result = listens.delay()
    run_jobs()
    assert state(result) == Status.WAITING
    send_event("news", 3, broadcast=True)
    run_jobs(until=result)
    assert value(result) == [1, 2, 3]


# --- keeping --------------------------------------------------------------------------------------


def test_event_is_kept_for_a_day_unless_told_otherwise() -> None:
    send_event("a")
    send_event("b", keep=60)
    kept = [event.expires_at - event.sent_at for event in Event.objects.order_by("id")]
    assert [round(each.total_seconds()) for each in kept] == [86_400, 60]


def test_event_is_kept_for_its_time() -> None:
    send_event("paid:42", "old")
    run_jobs()
    assert Event.objects.get().is_new is False
    Event.objects.update(expires_at=timezone.now())
    result = waiting_job().delay()
    run_jobs()
    assert state(result) == Status.WAITING


def test_event_without_keep_reaches_those_who_wait_only() -> None:
    first = waiting_job().delay()
    run_jobs()
    send_event("paid:42", "a", keep=0)
    run_jobs()
    assert value(first) == "a"
    send_event("paid:42", "b", keep=0)
    run_jobs()
    late = waiting_job().delay()
    run_jobs()
    assert state(late) == Status.WAITING


def test_event_of_a_long_transaction_does_not_expire_before_a_look(work: Any) -> None:
    result = waiting_job().delay()
    work()
    send_event("paid:42", keep=0)
    look(EventWait.objects.get(), "default")
    assert state(result) == Status.PENDING


def test_events_that_are_kept_no_longer_are_deleted() -> None:
    send_event("a", keep=0)
    send_event("b", keep=60)
    assert events.prune("default") == 0  # nobody has looked yet
    events.meet("default")
    assert events.prune("default") == 1
    assert [event.name for event in Event.objects.all()] == ["b"]


# --- timeouts -------------------------------------------------------------------------------------


def test_timeout_raises_where_the_job_waits() -> None:
    @job(name="tests.patient", bind=True)
    def patient(self: JobContext) -> str:
        try:
            self.wait_for_event("paid:42", timeout=DAY)
        except EventTimeout as error:
            return str(error)
        return "paid"

    result = patient.delay()
    run_jobs(at=DAY / 2)
    assert state(result) == Status.WAITING
    run_jobs(at=DAY)
    assert value(result) == "No event 'paid:42' came in time."
    row = Job.objects.get(pk=result.uuid)
    assert row.retries == 0
    # The event that comes later is for somebody else.
    send_event("paid:42")
    run_jobs()
    assert Event.objects.count() == 1


def test_event_before_the_timeout_ends_the_wait_once() -> None:
    result = waiting_job(timeout=DAY).delay()
    run_jobs()
    send_event("paid:42", 1)
    run_jobs(at=DAY * 2)
    assert (state(result), value(result)) == (Status.SUCCESS, 1)


def test_deadline_stays_when_the_job_runs_again() -> None:
    result = waiting_job(timeout=DAY).delay()
    run_jobs()
    until = EventWait.objects.get().until
    assert Step.objects.get().wake_at == until
    # As when a parent in a workflow has ended once more.
    Job.objects.filter(pk=result.uuid).update(status=Status.PENDING)
    run_jobs()
    assert state(result) == Status.WAITING
    assert EventWait.objects.get().until == until


# --- what else ends a wait ------------------------------------------------------------------------


def test_revoke_ends_the_wait() -> None:
    result = waiting_job().delay()
    run_jobs()
    assert control.revoke([result.id]) == 1
    assert not EventWait.objects.exists()
    send_event("paid:42")
    run_jobs()
    assert state(result) == Status.REVOKED
    assert Event.objects.count() == 1


def test_retry_after_a_revoke_waits_again() -> None:
    result = waiting_job().delay()
    run_jobs()
    control.revoke([result.id])
    control.retry([result.id])
    run_jobs()
    assert state(result) == Status.WAITING
    send_event("paid:42", 3)
    run_jobs(until=result)
    assert value(result) == 3


def test_end_of_a_wait_that_is_over_leaves_the_next_wait_of_the_job() -> None:
    @job(name="tests.twice", bind=True)
    def twice(self: JobContext) -> list[Any]:
        return [self.wait_for_event("paid:42"), self.wait_for_event("shipped:42")]

    result = twice.delay()
    run_jobs()
    (old,) = EventWait.objects.all()
    send_event("paid:42", 1)
    run_jobs()
    with transaction.atomic():
        assert end_waits([old], End(2), "default") == 0
    assert state(result) == Status.WAITING
    assert EventWait.objects.get().name == "shipped:42"
    assert Step.objects.get(key="paid:42").result == 1


def test_end_of_a_wait_whose_job_is_gone_deletes_it() -> None:
    waiting_job().delay()
    run_jobs()
    Job.objects.all()._raw_delete("default")
    with transaction.atomic():
        assert end_waits(list(EventWait.objects.all()), End(1), "default") == 0
    assert not EventWait.objects.exists()


def test_deleted_job_leaves_no_wait() -> None:
    result = waiting_job().delay()
    run_jobs()
    Job.objects.filter(pk=result.uuid).delete()
    assert not EventWait.objects.exists()


def test_unblock_wakes_no_job_that_waits_for_an_event() -> None:
    result = waiting_job().delay()
    run_jobs()
    unblock.run_all("default")
    assert state(result) == Status.WAITING


def test_event_passes_a_job_that_does_not_wait_any_more() -> None:
    waits = waiting_job()
    gone, next_one = waits.delay(), waits.delay()
    run_jobs()
    Job.objects.filter(pk=gone.uuid).update(status=Status.FAILURE)  # by hand
    send_event("paid:42", 9)
    run_jobs()
    assert value(next_one) == 9
    assert not EventWait.objects.exists()


def test_job_that_also_waits_for_a_parent_goes_on_after_both() -> None:
    @job(name="tests.parent")
    def parent() -> str:
        return "result"

    @job(name="tests.child", bind=True)
    def child(self: JobContext, given: str) -> list[Any]:
        return [given, self.wait_for_event("paid:42")]

    result = chain(parent.s(), child.s()).apply_async()
    run_jobs()
    assert state(result) == Status.WAITING
    control.retry([result.parent.id])
    send_event("paid:42", 1)
    events.run_all("default")
    assert (Step.objects.get().state, state(result)) == ("DONE", Status.WAITING)
    run_jobs()
    assert value(result) == ["result", 1]


def test_steps_before_the_wait_run_once() -> None:
    calls: list[int] = []

    @job(name="tests.charges", bind=True)
    def charges(self: JobContext) -> Any:
        self.step("charge", calls.append, 1)
        return self.wait_for_event("paid:42")

    result = charges.delay()
    run_jobs()
    send_event("paid:42")
    run_jobs(until=result)
    assert calls == [1]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("", {}, "must have 1 to 200 characters, got 0"),
        ("x" * 201, {}, "must have 1 to 200 characters, got 201"),
        ("a\nb", {}, "must have printable characters"),
        ("a ", {}, "must have printable characters"),
        (7, {}, "must be a text, got an int"),
        ("a", {"keep": -1}, "keep must be from 0"),
        ("a", {"keep": "long"}, "keep must be seconds"),
        ("a", {"using": "other"}, "must be a database with jobs, one of 'default'"),
    ],
)
def test_invalid_event_is_refused(name: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        send_event(name, **options)
    assert not Event.objects.exists()


def test_payload_has_the_limit_of_arguments(settings: Any) -> None:
    settings.DJANGO_JOBS = {"MAX_PAYLOAD_BYTES": 100}
    with pytest.raises(ArgumentError, match="The event's payload takes more than 100 bytes"):
        send_event("a", "x" * 100)
    with pytest.raises(ArgumentError, match="cannot be stored as JSON"):
        send_event("a", {"when": object()})
    assert not Event.objects.exists()


def test_several_databases_need_a_name(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"DATABASE": "second"}}}
    with pytest.raises(ValueError, match=r"send_event\(using=\.\.\.\)"):
        send_event("a")
    send_event("a", using="default")


def test_eager_job_takes_what_is_kept_or_times_out() -> None:
    send_event("paid:42", 4)
    assert waiting_job().apply().get() == 4
    with pytest.raises(EventTimeout):
        waiting_job(timeout=DAY).apply().get()
    with pytest.raises(Exception, match="Send the event before, or enqueue the job"):
        waiting_job().apply().get()


def test_payload_is_recorded_encrypted_if_the_job_encrypts(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}

    @job(name="tests.hides", bind=True, encrypt=True)
    def hides(self: JobContext) -> bool:
        return bool(self.wait_for_event("paid:42") == {"card": "4111"} and self.sleep(60) is None)

    result = hides.delay()
    run_jobs()
    send_event("paid:42", {"card": "4111"})
    run_jobs()
    assert state(result) == Status.SCHEDULED
    assert "4111" not in str(Step.objects.get(key="paid:42").result)
    run_jobs(at=DAY)
    assert state(result) == Status.SUCCESS


def test_other_call_with_the_unique_key_does_not_wait(registered: Any) -> None:
    @job(name="tests.debounced", bind=True, unique="replace", unique_key=())
    def debounced(self: JobContext, number: int) -> Any:
        return [number, self.wait_for_event("paid:42")]

    debounced.delay(1)
    run_jobs()
    result = debounced.delay(2)
    assert not EventWait.objects.exists()
    run_jobs()
    send_event("paid:42")
    run_jobs()
    assert value(result) == [2, None]
