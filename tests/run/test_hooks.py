"""Hooks, receivers and the log hear of each recorded end once, and of no dropped end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, transaction

from django_jobs import Reject, Retry, Snooze, TimeLimitExceeded, current_job, job, signals
from django_jobs.control import revoke
from django_jobs.db import clock
from django_jobs.define.context import JobContext
from django_jobs.exceptions import Ignore
from django_jobs.maintenance import rescue
from django_jobs.models import Job, Worker
from django_jobs.run.record import record
from django_jobs.status import Status
from django_jobs.values import Outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

SIGNALS = {
    "job_success": signals.job_success,
    "job_failure": signals.job_failure,
    "job_retry": signals.job_retry,
    "job_revoked": signals.job_revoked,
    "job_postrun": signals.job_postrun,
}


class Heard:
    """Notes each call with the status and the retries that the row has at that moment."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def note(self, what: str, job_id: Any) -> None:
        row = Job.objects.defer("args", "kwargs", "headers", "options").get(pk=job_id)
        self.calls.append((what, row.status, row.retries))

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


heard = Heard()


class Noting(JobContext):
    #: Called before the body, outside of its transaction.
    drop: Callable[[], None] = lambda: None

    def before_start(self, *args: Any) -> None:
        Noting.drop()

    def on_success(self, retval: Any, job_id: Any, *args: Any) -> None:
        heard.note("on_success", job_id)

    def on_failure(self, exc: Any, job_id: Any, *args: Any) -> None:
        heard.note("on_failure", job_id)

    def on_retry(self, exc: Any, job_id: Any, *args: Any) -> None:
        heard.note("on_retry", job_id)

    def after_return(self, status: Any, retval: Any, job_id: Any, *args: Any) -> None:
        heard.note("after_return", job_id)


class LogHandler(logging.Handler):
    """Notes the line of an attempt's end as a hook is noted."""

    def emit(self, record: logging.LogRecord) -> None:
        if " runtime=" in record.getMessage():
            heard.note("log", vars(record)["job_id"])


@pytest.fixture(autouse=True)
def listeners(registered: Any) -> Iterator[None]:
    """Let everything that can hear of an end write into ``heard``."""
    heard.calls.clear()

    def receiver(name: str) -> Callable[..., None]:
        return lambda sender, job_id, **named: heard.note(name, job_id)

    receivers = {name: receiver(name) for name in SIGNALS}
    for name, signal in SIGNALS.items():
        signal.connect(receivers[name])
    logger, handler = logging.getLogger("django_jobs.job"), LogHandler()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)
    for name, signal in SIGNALS.items():
        signal.disconnect(receivers[name])


def succeed() -> int:
    return 1


def fail() -> None:
    raise ValueError("no")


def retry() -> None:
    raise Retry(countdown=60)


def snooze() -> None:
    raise Snooze(60)


def reject() -> None:
    raise Reject("later", requeue=True)


def ignore() -> None:
    raise Ignore


def return_a_set() -> Any:
    return object()


# What the body does, the options of its function, the row's status, who hears.
SUCCESS = ["on_success", "after_return", "job_success", "job_postrun", "log"]
FAILURE = ["on_failure", "after_return", "job_failure", "job_postrun", "log"]
RETRY = ["on_retry", "after_return", "job_retry", "job_postrun", "log"]
ENDS = {
    "success": (succeed, {}, "SUCCESS", SUCCESS),
    "atomic success": (succeed, {"atomic": True}, "SUCCESS", SUCCESS),
    "no result": (succeed, {"ignore_result": True}, "SUCCESS", SUCCESS),
    "failure": (fail, {}, "FAILURE", FAILURE),
    "atomic failure": (fail, {"atomic": True}, "FAILURE", FAILURE),
    "result that is no JSON": (return_a_set, {}, "FAILURE", FAILURE),
    "autoretry": (fail, {"autoretry_for": [ValueError]}, "RETRY", RETRY),
    "retry": (retry, {}, "RETRY", RETRY),
    "snooze": (snooze, {}, "SCHEDULED", ["job_postrun", "log"]),
    "reject": (reject, {}, "SCHEDULED", ["job_postrun", "log"]),
    "ignore": (ignore, {}, "SUCCESS", SUCCESS),
}
EACH_END = pytest.mark.parametrize("end", ENDS)


def enqueue(end: str, base: type[JobContext] = Noting) -> Any:
    """Enqueue one call of a function that ends so."""
    body, options, _status, _who = ENDS[end]

    @job(base=base, **options)
    def function() -> Any:
        return body()

    return function.delay()


# --- each end that is recorded, by each way that records ------------------------------------------


Work = Callable[..., list[Outcome]]


@EACH_END
def test_each_end_is_told_once_after_the_row_has_it(end: str, work: Work) -> None:
    enqueue(end)
    work()
    _body, _options, status, who = ENDS[end]
    retries = int(status == "RETRY")
    assert Job.objects.get().status == status
    assert heard.calls == [(each, status, retries) for each in who]


@pytest.fixture
def no_receivers() -> Iterator[None]:
    """Take all receivers from the signals, also those of the package."""
    kept = {name: list(signal.receivers) for name, signal in SIGNALS.items()}
    assert all(kept.values())
    for signal in SIGNALS.values():
        signal.receivers[:] = []
        signal.sender_receivers_cache.clear()
    yield
    for name, signal in SIGNALS.items():
        signal.receivers[:] = kept[name]
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize("end", ["success", "snooze"])
@pytest.mark.usefixtures("no_receivers")
def test_line_of_the_log_alone_comes_after_the_record_too(end: str, work: Work) -> None:
    enqueue(end, base=JobContext)
    work()
    assert heard.calls == [("log", ENDS[end][2], 0)]


def test_job_that_expired_is_told_of_after_the_row_has_it(work: Work) -> None:
    enqueue("success")
    Job.objects.update(expires_at=clock("default", -1))
    work()
    assert heard.calls == [("job_revoked", "REVOKED", 0), ("log", "REVOKED", 0)]


def test_hooks_run_before_the_next_job_in_the_context_of_their_own(work: Work) -> None:
    seen: list[Any] = []

    class Seeing(JobContext):
        def on_success(self, *args: Any) -> None:
            seen.append((current_job.request.args, Job.objects.get(pk=self.request.id).status))

    @job(base=Seeing)
    def body(number: int) -> None:
        seen.append(number)

    body.delay_many([(1,), (2,)])
    work()
    assert seen == [1, ([1], "SUCCESS"), 2, ([2], "SUCCESS")]


# --- each end that is dropped, by each way that drops ---------------------------------------------


def fenced_out() -> None:
    Job.objects.update(claims=9)


def rescued() -> None:
    Worker.objects.update(lease_until=clock("default", -1))
    rescue.run_once("default")
    heard.calls.clear()  # the rescue tells of its own end


def revoked() -> None:
    revoke(list(Job.objects.values_list("pk", flat=True)), terminate=True)


def edited() -> None:
    Job.objects.update(status=Status.PENDING, worker_id=None)


def deleted() -> None:
    Job.objects.all().delete()


@pytest.mark.parametrize("drop", [fenced_out, rescued, revoked, edited, deleted])
@EACH_END
def test_no_dropped_end_is_told(
    end: str, drop: Callable[[], None], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noting, "drop", drop)
    enqueue(end)
    assert work() == []
    assert heard.calls == []


@pytest.mark.parametrize("end", ["success", "autoretry", "snooze"])
def test_end_that_the_database_refuses_is_told_as_the_failure_that_the_row_has(
    end: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "django_jobs.run.outside_body.keep_seconds",
        lambda function, status: None if status == "FAILURE" else "for ever",
    )
    enqueue(end)
    (outcome,) = work()
    assert (outcome.status, Job.objects.get().status) == ("FAILURE", "FAILURE")
    assert heard.calls == [(each, "FAILURE", 0) for each in FAILURE]


def test_success_that_is_rolled_back_with_its_transaction_is_not_told(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_and_fail(*args: Any) -> None:
        record(*args)
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("django_jobs.worker.inline.record", record_and_fail)
    enqueue("atomic success")
    work()
    assert heard.calls == [("job_postrun", "PENDING", 0), ("log", "PENDING", 0)]


def test_revoke_that_is_rolled_back_is_not_told(
    django_capture_on_commit_callbacks: Any,
) -> None:
    result = enqueue("success")
    with (
        django_capture_on_commit_callbacks(execute=True),
        pytest.raises(ZeroDivisionError),
        transaction.atomic(),
    ):
        assert result.revoke()
        1 / 0  # noqa: B018
    assert heard.calls == []
    with django_capture_on_commit_callbacks(execute=True):
        assert result.revoke()
        assert heard.calls == []
    assert heard.calls == [("job_revoked", "REVOKED", 0)]


# --- ends that another process records ------------------------------------------------------------


def test_rescue_tells_of_a_crash_after_its_transaction(
    worker: Worker, take: Any, settings: Any
) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    enqueue("success")
    take()
    Worker.objects.update(lease_until=clock("default", -1))
    assert rescue.run_once("default") == 1
    assert heard.calls == [("job_failure", "FAILURE", 0), ("log", "FAILURE", 0)]


def test_rescue_whose_transaction_is_rolled_back_tells_nothing(
    worker: Worker, take: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    enqueue("success")
    take()
    Worker.objects.update(lease_until=clock("default", -1))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("django_jobs.maintenance.rescue.announce", lambda *_: 1 / 0)
        rescue.run_once("default")
    assert heard.calls == []
    assert rescue.run_once("default") == 1
    assert heard.calls == [("job_failure", "FAILURE", 0), ("log", "FAILURE", 0)]


def test_rescue_whose_transaction_is_repeated_tells_once(
    worker: Worker, take: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(using: str, action: Callable[[], int]) -> int:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            assert action() == 1
            1 / 0  # noqa: B018
        return action()

    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    enqueue("success")
    take()
    Worker.objects.update(lease_until=clock("default", -1))
    monkeypatch.setattr("django_jobs.maintenance.rescue.without_deadlock", repeat)
    assert rescue.run_once("default") == 1
    assert heard.calls == [("job_failure", "FAILURE", 0), ("log", "FAILURE", 0)]


def test_kill_by_a_time_limit_is_told_of_even_if_the_rest_fails(
    worker: Worker, take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue("success")
    (claimed,) = take()
    reasons = {(claimed.id, claimed.claims): TimeLimitExceeded("too long")}
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("django_jobs.maintenance.rescue.release", lambda *_: 1 / 0)
        rescue.clean_up_after(worker.pk, reasons, "default")
    rescue.clean_up_after(worker.pk, reasons, "default")
    assert heard.calls == [(each, "FAILURE", 0) for each in FAILURE]


def test_dead_process_s_job_that_was_revoked_meanwhile_is_not_told_of(
    worker: Worker, take: Any
) -> None:
    enqueue("success")
    (claimed,) = take()
    fenced_out()
    rescue.clean_up_after(worker.pk, {(claimed.id, 1): TimeLimitExceeded("too long")}, "default")
    assert heard.calls == []
