"""A registered tracer hears of every enqueue and adds headers."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest

from django_jobs import JobContext, chain, chord, job
from django_jobs.beat.fire import fire_due
from django_jobs.control import schedules
from django_jobs.db import clock
from django_jobs.define import instrumentation
from django_jobs.define.instrumentation import Enqueuing, Instrumentation
from django_jobs.exceptions import QueueFull
from django_jobs.middleware import JobOutcome
from django_jobs.models import Job, Schedule
from tests import jobs
from tests.workflows.jobs import add, become, fail, received, total, widen

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_instrumentation")]

Drain = Callable[..., Any]
EAGER = pytest.mark.parametrize("eager", [False, True])

_span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="")


class Tracer(Instrumentation):
    """Notes what it is told. Its header "trace" is the path of spans to the enqueue."""

    path = "tests.Tracer"

    def __init__(self, header: str = "trace") -> None:
        self.header = header
        #: For each enqueue its header and the job functions: of all rows, and of the new jobs.
        self.enqueues: list[tuple[str, list[str], list[str]]] = []
        self.attempts: list[tuple[str, Any, JobOutcome | None]] = []
        self.error: BaseException | None = None

    def header_names(self) -> Collection[str]:
        return [self.header]

    @contextlib.contextmanager
    def enqueuing(self, jobs: Enqueuing) -> Iterator[Mapping[str, Any]]:
        trace = f"{jobs.cause.get(self.header, '') or _span.get()}>{len(self.enqueues)}"
        told: tuple[str, list[str], list[str]] = (trace, names(jobs.rows), [])
        self.enqueues.append(told)
        try:
            yield {self.header: trace}
        except BaseException as error:
            self.error = error
            raise
        told[2].extend(names(jobs.written))

    @contextlib.contextmanager
    def attempt(self, running: JobContext) -> Iterator[None]:
        _span.set(f"{running.request.headers.get(self.header)}.{short(running.name)}")
        try:
            yield
        finally:
            self.attempts.append((_span.get(), running.request.headers, running.outcome))


def short(name: str) -> str:
    return name.rpartition(".")[2]


def names(rows: Any) -> list[str]:
    return [short(row.name) for row in rows]


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    tracer = Tracer()
    instrumentation.register(tracer)
    token = _span.set("web")
    yield tracer
    _span.reset(token)
    instrumentation.unregister(tracer)


@pytest.fixture
def enqueue(registered: Any, drain: Drain, settings: Any) -> Callable[..., None]:
    """Enqueue a canvas and run it, by a worker or in this process."""

    def run(canvas: Any, eager: bool) -> None:
        settings.DJANGO_JOBS = {"EAGER": eager}
        canvas.apply_async()
        token = _span.set("worker")
        drain()
        _span.reset(token)

    return run


def headers_of(*names: str) -> list[Any]:
    rows = Job.objects.filter(name__in=names) if names else Job.objects.all()
    return list(rows.order_by("id").values_list("headers", flat=True))


# --- calls --------------------------------------------------------------------------------------


def test_each_call_is_one_enqueue(tracer: Tracer) -> None:
    jobs.add.delay(1)
    jobs.add.delay_many([(1,), (2,)])
    chord([add.s(1), add.s(2)], total.s()).delay()
    assert tracer.enqueues == [
        ("web>0", ["add"], ["add"]),
        ("web>1", ["add"] * 2, ["add"] * 2),
        ("web>2", ["add", "add", "total"], ["add", "add", "total"]),
    ]
    assert headers_of() == [{"trace": f"web>{number}"} for number in (0, 1, 1, 2, 2, 2)]


@pytest.mark.django_db(transaction=True)
def test_calls_outside_of_a_transaction_are_enqueues(tracer: Tracer) -> None:
    jobs.add.delay(1)
    jobs.add.apply_async((1,), queue="own")
    jobs.add.delay_many([(1,), (2,)])
    assert headers_of() == [{"trace": f"web>{number}"} for number in (0, 1, 2, 2)]


def test_own_headers_of_a_call_stay(tracer: Tracer) -> None:
    jobs.add.apply_async((1,), headers={"order": 7})
    jobs.add.apply_async((1,), headers={"trace": "mine"})
    assert headers_of() == [{"order": 7, "trace": "web>0"}, {"trace": "mine"}]


def test_two_tracers_add_their_headers(tracer: Tracer) -> None:
    other = Tracer("other")
    instrumentation.register(other)
    jobs.add.delay(1)
    instrumentation.unregister(other)
    jobs.add.delay(1)
    assert headers_of() == [{"trace": "web>0", "other": "web>0"}, {"trace": "web>1"}]


def test_baggage_of_two_tracers_is_one_list(tracer: Tracer) -> None:
    tracer.header = "baggage"
    other = Tracer("baggage")
    instrumentation.register(other)
    jobs.add.delay(1)
    instrumentation.unregister(other)
    assert headers_of() == [{"baggage": "web>0,web>0"}]


def test_call_that_finds_a_live_job_is_no_new_job(tracer: Tracer, registered: Any) -> None:
    once = job(unique=True)(lambda_like)
    first = once.delay()
    assert once.delay().id == first.id
    assert tracer.enqueues[1] == ("web>1", ["lambda_like"], [])


def lambda_like() -> None:
    pass


def test_tracer_hears_why_nothing_was_enqueued(tracer: Tracer, settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 0}}}
    with pytest.raises(QueueFull):
        jobs.add.delay(1)
    assert isinstance(tracer.error, QueueFull)
    assert tracer.enqueues == [("web>0", ["add"], [])]


def test_nothing_is_added_without_a_tracer() -> None:
    jobs.add.delay(1)
    assert headers_of() == [None]


# --- jobs that cause jobs -----------------------------------------------------------------------


@job
def enqueue_another() -> None:
    add.delay(1)


@EAGER
@pytest.mark.parametrize("inherits", [False, True])
def test_job_that_a_job_enqueues_continues_the_attempt(
    enqueue: Any, tracer: Tracer, settings: Any, eager: bool, inherits: bool
) -> None:
    settings.DJANGO_JOBS = {"HEADERS": ["django_jobs.middleware.locale_headers"] * inherits}
    enqueue(enqueue_another.s(), eager)
    assert [span for span, *_ in sorted(tracer.attempts, key=lambda each: len(each[0]))] == [
        "web>0.enqueue_another",
        "web>0.enqueue_another>1.add",
    ]


@EAGER
def test_errback_continues_the_trace_of_the_failed_job(
    enqueue: Any, tracer: Tracer, eager: bool
) -> None:
    enqueue(chain(fail.s().on_error(received.s()), add.s(1)), eager)
    assert [span for span, *_ in tracer.attempts] == ["web>0.fail", "web>0>1.received"]


@EAGER
def test_job_that_goes_on_as_another_continues_the_attempt(
    enqueue: Any, tracer: Tracer, eager: bool
) -> None:
    enqueue(become.s(chain(add.s(1), add.s(2))), eager)
    first = "web>0.become"
    assert [span for span, *_ in tracer.attempts] == [first, f"{first}>1.add", f"{first}>1.add"]
    assert len(tracer.enqueues) == 2


@EAGER
def test_added_member_continues_the_attempt(enqueue: Any, tracer: Tracer, eager: bool) -> None:
    enqueue(chord([widen.s(1, add.si(5))], total.s()), eager)
    assert [span for span, *_ in tracer.attempts] == [
        *("web>0.widen", "web>0.widen>1.add", "web>0.total")
    ]
    assert len(tracer.enqueues) == 2


def test_apply_is_an_enqueue_too(tracer: Tracer) -> None:
    jobs.add.apply((1,))
    assert [span for span, *_ in tracer.attempts] == ["web>0.add"]


def test_beat_and_a_button_enqueue_the_jobs_of_a_schedule(tracer: Tracer) -> None:
    schedule = Schedule.objects.create(
        name="s", job_name=jobs.add.name, args=[1], kind="interval", interval_seconds=60
    )
    Schedule.objects.update(next_run_at=clock("default", -1))
    fire_due("default")
    schedules.run_now(schedule)
    assert headers_of() == [{"trace": "web>0"}, {"trace": "web>1"}]


# --- attempts and errors ------------------------------------------------------------------------


@job(max_retries=0)
def login(password: str) -> None:
    raise ValueError(f"{password} is wrong")


def test_attempt_tells_the_failure_without_secrets(tracer: Tracer, drain: Drain) -> None:
    login.delay("hunter2!")
    drain()
    (_span, _headers, outcome) = tracer.attempts[0]
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.error_class) == ("FAILURE", "builtins.ValueError")
    assert outcome.failure.message == "******** is wrong"
    assert "hunter2!" not in outcome.failure.traceback


class Broken(Tracer):
    """Raises before or after what it is around."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late

    @contextlib.contextmanager
    def enqueuing(self, jobs: Enqueuing) -> Iterator[Mapping[str, Any]]:
        secret = jobs.rows[0].args
        if not self.late:
            raise LookupError(f"early {secret}")
        yield {}
        raise LookupError(f"late {secret}")

    @contextlib.contextmanager
    def attempt(self, running: JobContext) -> Iterator[None]:
        if not self.late:
            raise LookupError(f"early {running.request.args}")
        with contextlib.suppress(ValueError):
            yield
        raise LookupError(f"late {running.request.args}")


@pytest.mark.parametrize("late", [False, True])
def test_error_of_a_tracer_changes_nothing_and_is_logged(
    drain: Drain, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    broken = Broken(late)
    instrumentation.register(broken)
    with caplog.at_level(logging.ERROR, "django_jobs.job"):
        login.delay("hunter2!")
        (outcome,) = drain()
    instrumentation.unregister(broken)
    assert outcome.failure.message == "******** is wrong"
    told = [each.message for each in caplog.records if "instrumentation failed" in each.message]
    assert [each.split("\n")[0] for each in told] == [
        "instrumentation failed path=tests.Tracer"
    ] * 2
    assert all("LookupError: " + ("late" if late else "early") in each for each in told)
    assert "hunter2!" not in caplog.text
