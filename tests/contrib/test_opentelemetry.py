"""The spans of enqueues and attempts, as OpenTelemetry's SDK exports them."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv.attributes import error_attributes, exception_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode

from django_jobs import Snooze, chain, chord, job
from django_jobs.beat.fire import fire_due
from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor, names
from django_jobs.db import clock
from django_jobs.define import instrumentation
from django_jobs.exceptions import QueueFull
from django_jobs.models import Job, Schedule
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute_async
from django_jobs.testing import run_jobs
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.contrib.telemetry import Telemetry, attributes_of, id_of, parent_of, short, trace_of
from tests.workflows.jobs import add, become, fail, received, total

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.usefixtures("no_instrumentation"),
]

Drain = Callable[..., Any]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    telemetry.instrument()
    yield telemetry
    telemetry.shutdown()


@job
def enqueue_another() -> None:
    add.delay(1)


@job(max_retries=0)
def login(password: str) -> None:
    raise ValueError(f"{password} is wrong")


def shape(telemetry: Telemetry) -> list[tuple[str, str | None]]:
    """Return the name of each span and of its parent, the earliest start first."""
    known = {id_of(span): short(span) for span in telemetry.spans()}
    return [
        (short(span), known.get(parent_of(span) or 0, "elsewhere" if span.parent else None))
        for span in telemetry.spans()
    ]


# --- calls and attempts -------------------------------------------------------------------------


def test_enqueue_and_attempt_are_parent_and_child(telemetry: Telemetry, drain: Drain) -> None:
    with telemetry.tracers.get_tracer("web").start_as_current_span("POST /orders"):
        result = jobs.add.delay(1)
    drain()
    request, send, process = telemetry.spans()
    assert (send.name, send.kind) == ("send tests.jobs.add", SpanKind.PRODUCER)
    assert (process.name, process.kind) == ("process tests.jobs.add", SpanKind.CONSUMER)
    assert (parent_of(send), parent_of(process)) == (id_of(request), id_of(send))
    assert {trace_of(span) for span in telemetry.spans()} == {trace_of(request)}
    assert [link.context.span_id for link in process.links] == [id_of(send)]
    assert (send.status.status_code, process.status.status_code) == (StatusCode.UNSET,) * 2
    common = {
        "messaging.system": "django_jobs",
        "messaging.destination.name": "default",
        "messaging.message.id": str(result.id),
        "django_jobs.job.name": "tests.jobs.add",
    }
    assert attributes_of(send) == {
        **common,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert attributes_of(process) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.conversation_id": str(result.id),
        "messaging.client.id": "w",
        "django_jobs.job.attempt": 1,
        "django_jobs.job.status": "SUCCESS",
    }
    (header,) = result.job.headers.values()
    assert header.startswith(f"00-{trace_of(send):032x}-{id_of(send):016x}-")
    assert list(result.job.headers) == ["traceparent"]
    scope = process.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.schema_url) == ("django_jobs", names.SCHEMA_URL)


def test_names_are_those_of_the_semantic_conventions() -> None:
    assert Schemas.V1_44_0.value == names.SCHEMA_URL
    modules = (messaging, error_attributes, exception_attributes)
    known = {str(value) for module in modules for value in vars(module).values()}
    ours = {value for name, value in vars(names).items() if name.isupper() and "." in str(value)}
    others = {value for value in ours - {names.SCHEMA_URL} if not value.startswith("django_jobs.")}
    assert len(others) == 12
    assert others <= known
    types = {member.value for member in messaging.MessagingOperationTypeValues}
    assert {names.SEND, names.PROCESS} <= types


def test_calls_of_delay_many_share_a_span(telemetry: Telemetry, drain: Drain) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    drain()
    (send,) = telemetry.named("send add")
    assert attributes_of(send)["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in attributes_of(send)
    assert [parent_of(span) for span in telemetry.named("process add")] == [id_of(send)] * 3


def test_call_that_finds_a_live_job_names_no_message(telemetry: Telemetry, registered: Any) -> None:
    once = job(name="once", unique=True)(lambda_like)
    once.delay()
    once.delay()
    first, second = telemetry.named("send once")
    assert "messaging.message.id" in attributes_of(first)
    assert "messaging.message.id" not in attributes_of(second)


def lambda_like() -> None:
    pass


def test_own_traceparent_of_a_call_stays(telemetry: Telemetry, drain: Drain) -> None:
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    result = jobs.add.apply_async((1,), headers={"traceparent": own})
    drain()
    assert result.job.headers == {"traceparent": own}
    (send,), (process,) = telemetry.named("send add"), telemetry.named("process add")
    assert [f"{link.context.span_id:x}" for link in send.links] == ["b7ad6b7169203331"]
    assert f"{parent_of(process):x}" == "b7ad6b7169203331"
    assert trace_of(send) != trace_of(process) == int(own[3:35], 16)


@pytest.mark.parametrize("value", ["no trace", 7, None, ["00-1-1-01"]])
def test_unreadable_traceparent_begins_a_trace(
    telemetry: Telemetry, drain: Drain, value: Any
) -> None:
    jobs.add.apply_async((1,), headers={"traceparent": value})
    drain()
    (process,) = telemetry.named("process add")
    assert process.parent is None
    assert process.links == ()


def test_baggage_reaches_the_job(telemetry: Telemetry, drain: Drain, registered: Any) -> None:
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    result = job(name="show")(show_baggage).delay()
    context.detach(token)
    assert result.job.headers["baggage"] == "tenant=acme"
    drain()
    assert result.get() == {"tenant": "acme"}
    assert baggage.get_all() == {}


def show_baggage() -> dict[str, Any]:
    return dict(baggage.get_all())


def test_span_of_the_body_is_a_child_of_the_attempt(
    telemetry: Telemetry, drain: Drain, registered: Any
) -> None:
    def charge() -> None:
        with telemetry.tracers.get_tracer("shop").start_as_current_span("charge"):
            pass

    job(name="pay")(charge).delay()
    drain()
    assert shape(telemetry) == [
        *(("send pay", None), ("process pay", "send pay"), ("charge", "process pay"))
    ]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_async_job_has_the_span_as_the_current_one(
    telemetry: Telemetry, registered: Any, take: Callable[..., list[Claimed]]
) -> None:
    @job(name="fetch")
    async def fetch() -> str:
        return f"{trace.get_current_span().get_span_context().span_id:x}"

    async def call(execution: Any) -> str:
        return await fetch.__wrapped__()

    async def confirm(outcome: Outcome) -> Outcome:
        return outcome

    fetch.delay()
    (claimed,) = take()
    outcome = asyncio.run(execute_async(claimed, Environment(), call, confirm))
    (process,) = telemetry.named("process fetch")
    assert outcome.value == f"{id_of(process):x}"
    assert shape(telemetry) == [("send fetch", None), ("process fetch", "send fetch")]


# --- ends ---------------------------------------------------------------------------------------


def test_failure_is_recorded_without_secrets(telemetry: Telemetry, drain: Drain) -> None:
    login.delay("hunter2!")
    drain()
    (process,) = telemetry.named("process login")
    assert process.status.status_code is StatusCode.ERROR
    assert process.status.description == "******** is wrong"
    assert attributes_of(process)["error.type"] == "builtins.ValueError"
    assert attributes_of(process)["django_jobs.job.status"] == "FAILURE"
    (event,) = process.events
    told = dict(event.attributes or {})
    assert event.name == "exception"
    assert told["exception.type"] == "builtins.ValueError"
    assert told["exception.message"] == "******** is wrong"
    assert 'raise ValueError(f"{password} is wrong")' in str(told["exception.stacktrace"])
    assert all("hunter2!" not in span.to_json() for span in telemetry.spans())


def test_failed_enqueue_is_recorded(telemetry: Telemetry, settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"hunter2": {"MAX_PENDING": 0}}}
    with pytest.raises(QueueFull):
        login.apply_async(("hunter2",), queue="hunter2")
    (send,) = telemetry.spans()
    assert send.status.status_code is StatusCode.ERROR
    assert str(send.status.description).startswith("Queue '********' holds 0 pending jobs")
    assert attributes_of(send)["error.type"] == "django_jobs.exceptions.QueueFull"
    (event,) = send.events
    assert event.name == "exception"
    assert "hunter2" not in str(event.attributes)


def test_attempts_of_a_retried_job_are_siblings(
    telemetry: Telemetry, drain: Drain, registered: Any
) -> None:
    @job(name="flaky", bind=True, max_retries=2, autoretry_for=[OSError], retry_backoff=False,
         default_retry_delay=0)  # fmt: skip
    def flaky(self: Any) -> None:
        if self.request.retries == 0:
            raise OSError("away")
        if self.request.retries == 1:
            self.retry(countdown=0)

    flaky.delay()
    run_jobs(at=datetime.timedelta(hours=1))
    (send,) = telemetry.named("send flaky")
    attempts = telemetry.named("process flaky")
    assert [parent_of(span) for span in attempts] == [id_of(send)] * 3
    told = [
        (each["django_jobs.job.attempt"], each["django_jobs.job.status"], each.get("error.type"))
        for each in map(attributes_of, attempts)
    ]
    # A body that asks to run again has not failed.
    assert told == [
        (1, "RETRY", "builtins.OSError"),
        (2, "RETRY", None),
        (3, "SUCCESS", None),
    ]


def test_snoozed_job_has_not_failed(telemetry: Telemetry, drain: Drain, registered: Any) -> None:
    @job(name="sleepy")
    def sleepy() -> None:
        raise Snooze(60)

    sleepy.delay()
    drain()
    (process,) = telemetry.named("process sleepy")
    assert process.status.status_code is StatusCode.UNSET
    assert process.events == ()
    assert attributes_of(process)["django_jobs.job.status"] == "SCHEDULED"


# --- jobs that cause jobs -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["worker", "eager", "run_jobs"])
def test_job_that_a_job_enqueues_continues_the_trace(
    telemetry: Telemetry, drain: Drain, settings: Any, mode: str
) -> None:
    settings.DJANGO_JOBS = {
        "EAGER": mode == "eager",
        "HEADERS": ["django_jobs.middleware.locale_headers"],
    }
    enqueue_another.delay()
    if mode == "worker":
        drain()
    elif mode == "run_jobs":
        run_jobs()
    assert shape(telemetry) == [
        ("send enqueue_another", None),
        ("process enqueue_another", "send enqueue_another"),
        ("send add", "process enqueue_another"),
        ("process add", "send add"),
    ]


@pytest.mark.parametrize("eager", [False, True])
def test_workflow_is_one_trace(
    telemetry: Telemetry, drain: Drain, settings: Any, eager: bool
) -> None:
    settings.DJANGO_JOBS = {"EAGER": eager}
    handle = chord([add.s(1), add.s(2)], total.s()).delay()
    drain()
    send, *processes = telemetry.spans()
    assert shape(telemetry) == [
        *(("send", None), ("process add", "send"), ("process add", "send")),
        ("process total", "send"),
    ]
    assert attributes_of(send)["messaging.batch.message_count"] == 3
    assert attributes_of(send)["messaging.destination.name"] == "default"
    conversations = {attributes_of(span)["messaging.message.conversation_id"] for span in processes}
    assert len(conversations) == 1
    assert attributes_of(processes[-1])["messaging.message.id"] == str(handle.id)


@pytest.mark.parametrize("eager", [False, True])
def test_errback_and_replacement_continue_the_trace(
    telemetry: Telemetry, drain: Drain, settings: Any, eager: bool
) -> None:
    settings.DJANGO_JOBS = {"EAGER": eager}
    fail.s().on_error(received.s()).delay()
    become.delay(chain(add.s(1), add.s(2)))
    drain()
    assert sorted(shape(telemetry), key=str) == sorted(
        [
            *(("send fail", None), ("process fail", "send fail")),
            *(("send received", "send fail"), ("process received", "send received")),
            *(("send become", None), ("process become", "send become")),
            ("send add", "process become"),
            *[("process add", "send add")] * 2,
        ],
        key=str,
    )
    assert len({trace_of(span) for span in telemetry.spans()}) == 2


def test_beat_begins_a_trace_for_each_tick(telemetry: Telemetry, drain: Drain) -> None:
    Schedule.objects.create(
        name="s", job_name=jobs.add.name, args=[1], kind="interval", interval_seconds=60
    )
    for _ in range(2):
        Schedule.objects.update(next_run_at=clock("default", -1))
        fire_due("default")
    drain()
    assert sorted(shape(telemetry), key=str) == [
        *[("process add", "send add")] * 2,
        *[("send add", None)] * 2,
    ]
    assert len({trace_of(span) for span in telemetry.spans()}) == 2


# --- on and off ---------------------------------------------------------------------------------


def test_trace_that_is_not_sampled_is_propagated(drain: Drain) -> None:
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.instrument()
    result = login.delay("hunter2!")
    drain()
    telemetry.shutdown()
    assert telemetry.spans() == []
    # The lowest bit of the flags says "sampled".
    assert int(result.job.headers["traceparent"][-2:], 16) % 2 == 0


def test_nothing_happens_without_an_sdk(drain: Drain) -> None:
    DjangoJobsInstrumentor().instrument()
    result = jobs.add.delay(1)
    drain()
    DjangoJobsInstrumentor().uninstrument()
    assert (result.get(), result.job.headers) == (1, None)


def test_uninstrument_ends_it(telemetry: Telemetry, drain: Drain) -> None:
    DjangoJobsInstrumentor().uninstrument()
    DjangoJobsInstrumentor().uninstrument()
    jobs.add.delay(1)
    drain()
    assert telemetry.spans() == []
    assert Job.objects.get().headers is None
    assert instrumentation.instrumentations == ()
