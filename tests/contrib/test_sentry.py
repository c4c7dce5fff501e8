"""``django_jobs.contrib.sentry`` with the real sentry-sdk, whose transport keeps the envelopes."""

from __future__ import annotations

import asyncio
import datetime
import gc
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from django.db import DatabaseError, connection, transaction
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.integrations import DidNotEnable
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from django_jobs import Snooze, chord, job
from django_jobs.beat.fire import fire_due
from django_jobs.contrib.sentry import DjangoJobsIntegration, shown_event
from django_jobs.contrib.sentry.check_ins import monitor_of, slug_of
from django_jobs.control import schedules
from django_jobs.db import clock
from django_jobs.exceptions import TimeLimitExceeded
from django_jobs.maintenance import rescue
from django_jobs.models import Job, Schedule, Worker
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute_async
from django_jobs.testing import run_jobs
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.contrib.envelopes import Kept
from tests.contrib.sentry_tracer import instrumented
from tests.waiting import LONG
from tests.workflows.jobs import add, become, fail, received, total

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DSN = "http://key@localhost/1"
SECRET = "hunter2-opensesame"
_log = logging.getLogger("shop")

Init = Callable[..., Kept]


@pytest.fixture
def init() -> Iterator[Init]:
    """Start the SDK with the integration, these options of it and of the SDK."""

    def start(sdk: Any = None, ours: bool = True, **options: Any) -> Kept:
        transport = Kept()
        integrations: list[Any] = [LoggingIntegration(), ThreadingIntegration()]
        if ours:
            integrations.append(DjangoJobsIntegration(**options))
        sentry_sdk.init(
            DSN,
            transport=transport,
            default_integrations=False,
            integrations=integrations,
            **{"traces_sample_rate": 1.0} | (sdk or {}),
        )
        if ours:
            instrument()
        return transport

    with sentry_sdk.isolation_scope(), instrumented() as instrument:
        yield start
        sentry_sdk.get_global_scope().set_client(None)


@job(name="sentry.charge", max_retries=0)
def charge(amount: int) -> None:
    raise ValueError(f"cannot charge {amount}")


@job(name="sentry.login", max_retries=0)
def login(user: str, password: str) -> None:
    copied = [password]
    _log.warning("logging in with %s", password)
    sentry_sdk.set_extra("tried", password)
    with sentry_sdk.start_span(op="http.client", name=f"GET /?key={password}"):
        pass
    try:
        raise KeyError(password)
    except KeyError as error:
        raise ValueError(f"no user {user} with {copied[0]}") from error


@job(name="sentry.flaky", max_retries=1, autoretry_for=[OSError], default_retry_delay=0)
def flaky() -> None:
    raise OSError("away")


@job(name="sentry.expected", throws=[KeyError], max_retries=0)
def expected() -> None:
    raise KeyError("expected")


@job(name="sentry.crumbs")
def crumbs(text: str) -> None:
    _log.warning("crumb of %s", text)
    sentry_sdk.set_tag(text, "1")
    if text == "last":
        raise ValueError("look at my breadcrumbs")


@job(name="sentry.crumbs_async", max_retries=0)
async def crumbs_async(text: str) -> None:
    _log.warning("crumb of %s", text)
    sentry_sdk.set_tag(text, "1")
    await asyncio.sleep(0)
    raise ValueError(text)


@job(name="sentry.snooze")
def snooze() -> None:
    raise Snooze(60)


def ran() -> None:
    """Run all jobs to their end, with their retries."""
    run_jobs(at=datetime.timedelta(minutes=30), schedules=False, raise_errors=False)


def exception_of(event: dict[str, Any]) -> dict[str, Any]:
    return event["exception"]["values"][-1]


def functions_of(event: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in exception_of(event)["stacktrace"]["frames"]]


# --- without the integration --------------------------------------------------------------------


def test_without_the_integration_a_failure_is_one_event_with_its_exception(init: Init) -> None:
    kept = init(ours=False)
    charge.delay(7)
    ran()
    (event,) = kept.events
    assert exception_of(event)["type"] == "ValueError"
    assert exception_of(event)["value"] == "cannot charge 7"
    assert functions_of(event) == ["charge"]
    assert event["extra"]["job_name"] == charge.name
    assert event["extra"]["status"] == "FAILURE"
    assert "fingerprint" not in event


def test_without_the_integration_an_event_has_no_secret(init: Init) -> None:
    kept = init(ours=False)
    login.delay("ada", SECRET)
    ran()
    (event,) = [event for event in kept.events if "exception" in event]
    assert [value["type"] for value in event["exception"]["values"]] == ["KeyError", "ValueError"]
    assert exception_of(event)["value"] == "no user ada with ********"
    assert functions_of(event) == ["login"]
    assert (
        exception_of(event)["stacktrace"]["frames"][0]["context_line"].strip().startswith("raise")
    )
    # The job itself may send more to Sentry, which is not this package's.
    own = {key: event[key] for key in ("exception", "logentry")}
    assert SECRET not in json.dumps(own)


# --- failures -----------------------------------------------------------------------------------


def test_failed_job_is_one_event_with_frames_tags_and_context(init: Init) -> None:
    kept = init()
    result = charge.apply_async([7], queue="money")
    ran()
    (event,) = kept.events
    exception = exception_of(event)
    assert (exception["type"], exception["value"]) == ("ValueError", "cannot charge 7")
    assert exception["mechanism"] == {"type": "django_jobs", "handled": False}
    assert functions_of(event) == ["charge"]
    assert exception["stacktrace"]["frames"][-1]["vars"] == {"amount": "7"}
    assert event["tags"] == {"job": charge.name, "queue": "money", "attempt": "1"}
    facts = event["contexts"]["job"]
    assert facts["id"] == str(result.id)
    assert facts["worker"] == "run_jobs"
    assert not {"args", "kwargs"} & facts.keys()
    assert event["transaction"] == charge.name
    (transaction,) = kept.transactions
    assert event["contexts"]["trace"]["trace_id"] == transaction["contexts"]["trace"]["trace_id"]
    assert event["contexts"]["trace"]["span_id"] == transaction["contexts"]["trace"]["span_id"]
    assert transaction["contexts"]["trace"]["status"] == "internal_error"


def test_failed_job_is_one_event_also_where_every_log_line_is_one(init: Init) -> None:
    kept = init()
    sentry_sdk.get_client().integrations["logging"] = LoggingIntegration(event_level=logging.INFO)
    for function in (flaky, expected):
        function.delay()
    jobs.add.delay(1)
    ran()
    assert [exception_of(event)["value"] for event in kept.events] == ["away"]


def test_expected_exceptions_are_not_reported(init: Init) -> None:
    kept = init(report_retries=True)
    expected.delay()
    ran()
    assert kept.events == []
    assert [each["transaction"] for each in kept.transactions] == [expected.name]


@pytest.mark.parametrize(
    ("options", "reported"),
    [({}, [("error", "2")]), ({"report_retries": True}, [("warning", "1"), ("error", "2")])],
)
def test_retries_are_reported_if_wanted(init: Init, options: Any, reported: Any) -> None:
    kept = init(**options)
    flaky.delay()
    ran()
    assert [(event["level"], event["tags"]["attempt"]) for event in kept.events] == reported
    assert len(kept.transactions) == 2


def test_jobs_that_did_not_begin_or_were_killed_are_events_too(init: Init, worker: Worker) -> None:
    kept = init()
    result = jobs.add.apply_async([1], max_retries=0)
    (claimed,) = claim(worker.pk, ["default"], 1, "default")[0]
    running = {(claimed.id, claimed.claims): TimeLimitExceeded("the job ran longer than 5 s")}
    rescue.clean_up_after(worker.pk, running, "default")
    (event,) = kept.events
    assert exception_of(event)["type"] == "TimeLimitExceeded"
    assert event["fingerprint"] == ["django_jobs", "TimeLimitExceeded", jobs.add.name]
    assert event["tags"] == {"job": jobs.add.name, "queue": "default", "attempt": "1"}
    assert event["contexts"]["job"]["id"] == str(result.id)
    trace, _span, *_sampled = Job.objects.get().headers["sentry-trace"].split("-")
    assert event["contexts"]["trace"]["trace_id"] == trace


def test_dependents_of_a_failed_job_are_no_events(init: Init) -> None:
    kept = init()
    chord([add.s(1, 2), fail.s(message="member")])(total.s())
    ran()
    assert Job.objects.get(name=total.name).status == "FAILURE"
    assert [exception_of(event)["value"] for event in kept.events] == ["member"]


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [False, True])
def test_no_event_has_a_secret(init: Init, wanted: bool) -> None:
    kept = init(send_arguments=wanted)
    login.delay("ada", password=SECRET)
    ran()
    (event,), (transaction,) = kept.events, kept.transactions
    assert SECRET not in json.dumps(kept.items)
    values = event["exception"]["values"]
    assert [(value["type"], value["value"]) for value in values] == [
        ("KeyError", "'********'"),
        ("ValueError", "no user ada with ********"),
    ]
    assert functions_of(event) == ["login"]
    assert "raise ValueError" in exception_of(event)["stacktrace"]["frames"][0]["context_line"]
    assert "vars" not in exception_of(event)["stacktrace"]["frames"][0]
    assert event["extra"]["tried"] == "********"
    crumb = event["breadcrumbs"]["values"][0]
    assert crumb["message"] == "logging in with ********"
    (span,) = transaction["spans"]
    assert span["description"] == "GET /?key=********"
    shown = {"args": ["ada"], "kwargs": {"password": "********"}}
    arguments = {name: event["contexts"]["job"].get(name) for name in ("args", "kwargs")}
    assert arguments == (shown if wanted else {"args": None, "kwargs": None})


def test_secret_that_is_a_part_of_an_id_leaves_the_ids(init: Init) -> None:
    kept = init()
    login.delay("ada", password="0a1b")
    trace = "0a1b" * 8
    Job.objects.update(headers={"sentry-trace": f"{trace}-{'0a1b' * 4}-1"})
    ran()
    (event,), (transaction,) = kept.events, kept.transactions
    assert event["contexts"]["trace"]["trace_id"] == trace
    assert transaction["contexts"]["trace"]["trace_id"] == trace
    assert {span["trace_id"] for span in transaction["spans"]} == {trace}


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize("option", [{"send_default_pii": True}, {"data_collection": {}}])
def test_arguments_are_sent_if_the_sdk_collects_them(init: Init, option: dict[str, Any]) -> None:
    if option.keys() - DEFAULT_OPTIONS.keys():
        pytest.skip("this sentry-sdk has no data_collection")
    kept = init(option)
    charge.delay(7)
    ran()
    assert kept.events[0]["contexts"]["job"]["args"] == [7]


def test_event_that_cannot_be_cleaned_is_not_sent(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RecursionError

    kept = init()
    monkeypatch.setattr(shown_event, "_cleaned", broken)
    login.delay("ada", SECRET)
    charge.delay(7)
    ran()
    assert [each["tags"]["job"] for each in kept.events] == [charge.name]
    assert [each["transaction"] for each in kept.transactions] == [charge.name]


def test_unreadable_arguments_are_left_out(init: Init, drain: Any) -> None:
    kept = init(send_arguments=True)
    login.delay("ada", SECRET)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_jobs_job SET args = '{oops'")
    drain()
    (event,) = kept.events
    assert event["tags"]["job"] == login.name
    assert not {"args", "kwargs"} & event["contexts"]["job"].keys()
    assert SECRET not in json.dumps(kept.items)


def test_secret_that_is_the_name_of_the_job_leaves_its_tag(init: Init) -> None:
    kept = init()
    login.delay("ada", password=login.name)
    ran()
    assert kept.events[0]["tags"] == {"job": login.name, "queue": "default", "attempt": "1"}
    assert exception_of(kept.events[0])["value"] == "no user ada with ********"


def test_exception_that_the_job_captures_has_no_secret_either(init: Init) -> None:
    @job(name="sentry.captures")
    def captures(password: str) -> None:
        try:
            raise ValueError(password)
        except ValueError:
            sentry_sdk.capture_exception()

    kept = init()
    captures.delay(SECRET)
    ran()
    assert kept.events[0]["tags"]["job"] == captures.name
    assert SECRET not in json.dumps(kept.items)


# --- scopes -------------------------------------------------------------------------------------


def crumbs_of(event: dict[str, Any]) -> list[str]:
    every = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    return [message for message in every if message.startswith("crumb")]


def test_scope_of_a_job_is_its_own(init: Init) -> None:
    kept = init()
    _log.warning("crumb of the worker")
    for text in ("first", "last"):
        crumbs.delay(text)
    ran()
    _log.error("after the jobs")
    event, after = kept.events
    assert crumbs_of(event) == ["crumb of last"]
    assert event["tags"].keys() == {"job", "queue", "attempt", "last"}
    assert crumbs_of(after) == ["crumb of the worker"]
    assert "tags" not in after


def test_scopes_of_coroutines_are_their_own(init: Init, take: Any) -> None:
    kept = init()
    for number in range(5):
        crumbs_async.delay(f"c{number}")

    async def together(claimed: list[Claimed]) -> None:
        environment = Environment(worker_name="w")

        async def call(execution: Any) -> Any:
            await crumbs_async.__wrapped__(*execution.context.request.args)

        async def confirm(outcome: Outcome) -> Outcome:
            await asyncio.sleep(0)
            return outcome

        await asyncio.gather(
            *(
                asyncio.create_task(execute_async(each, environment, call, confirm))
                for each in claimed
            )
        )

    asyncio.run(together(take()))
    found = sorted((exception_of(event)["value"], crumbs_of(event)) for event in kept.events)
    assert found == [(f"c{number}", [f"crumb of c{number}"]) for number in range(5)]
    for event in kept.events:
        assert event["tags"].keys() == {"job", "queue", "attempt", exception_of(event)["value"]}


def test_eager_job_has_a_scope_of_its_own_too(init: Init, settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    kept = init()
    with sentry_sdk.start_transaction(name="view", op="http.server") as view:
        _log.warning("crumb of the view")
        charge.delay(7)
        _log.error("after")
    of_job, after = kept.events
    assert exception_of(of_job)["value"] == "cannot charge 7"
    assert (crumbs_of(of_job), crumbs_of(after)) == ([], ["crumb of the view"])
    assert of_job["tags"]["job"] == charge.name
    assert "tags" not in after
    own, of_view = kept.transactions
    assert own["contexts"]["trace"]["trace_id"] == view.trace_id
    (publish,) = of_view["spans"]
    assert own["contexts"]["trace"]["parent_span_id"] == publish["span_id"]


# --- traces -------------------------------------------------------------------------------------


def test_job_continues_the_trace_of_the_code_that_enqueued_it(init: Init) -> None:
    kept = init()
    with sentry_sdk.start_transaction(name="view", op="http.server") as view:
        result = jobs.send.delay(7)
    ran()
    of_view, of_job = kept.transactions
    (publish,) = of_view["spans"]
    assert (publish["op"], publish["description"]) == ("queue.publish", jobs.send.name)
    data = {name: publish["data"][name] for name in publish["data"] if name.startswith("messaging")}
    assert data == {
        "messaging.system": "django_jobs",
        "messaging.destination.name": "mail",
        "messaging.message.body.size": len("[7]{}"),
        "messaging.message.id": str(result.id),
    }
    trace = of_job["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (view.trace_id, publish["span_id"])
    assert (trace["op"], trace["status"], trace["origin"]) == (
        "queue.process", "ok", "auto.queue.django_jobs"
    )  # fmt: skip
    assert of_job["transaction"] == jobs.send.name
    assert of_job["transaction_info"] == {"source": "task"}
    assert trace["data"]["messaging.message.id"] == str(result.id)
    assert trace["data"]["messaging.destination.name"] == "mail"
    assert trace["data"]["messaging.message.retry.count"] == 0
    assert trace["data"]["messaging.message.receive.latency"] >= 0


def test_workflow_is_one_trace(init: Init) -> None:
    kept = init()
    with sentry_sdk.start_transaction(name="view", op="http.server"):
        chord([add.s(1, 2), add.s(3, 4)])(total.s())
    ran()
    of_view, *others = kept.transactions
    (publish,) = of_view["spans"]
    assert publish["description"] == f"{add.name} and 1 more"
    assert publish["data"]["messaging.batch.message_count"] == 3
    traces = [each["contexts"]["trace"] for each in others]
    assert [each["transaction"] for each in others] == [add.name, add.name, total.name]
    assert {each["parent_span_id"] for each in traces} == {publish["span_id"]}


def test_job_of_a_job_continues_from_it_and_an_errback_from_where_both_came(init: Init) -> None:
    @job(name="sentry.parent")
    def parent() -> None:
        jobs.add.delay(1)
        raise ValueError("no")

    kept = init()
    parent.apply_async(link_error=received.s(), headers={"own": 1})
    ran()
    of_parent, *others = kept.transactions
    spans = {each["transaction"]: each["contexts"]["trace"] for each in others}
    assert {each["trace_id"] for each in spans.values()} == {
        of_parent["contexts"]["trace"]["trace_id"]
    }
    (publish,) = of_parent["spans"]
    assert spans[jobs.add.name]["parent_span_id"] == publish["span_id"]
    assert Job.objects.get(name=received.name).headers.keys() == {"sentry-trace", "baggage"}


def test_jobs_without_a_trace_have_each_their_own(init: Init) -> None:
    kept = init(propagate_traces=False)
    for _ in range(2):
        jobs.add.delay(1)
    assert {row.headers for row in Job.objects.all()} == {None}
    ran()
    first, second = (each["contexts"]["trace"]["trace_id"] for each in kept.transactions)
    assert first != second


def test_sampler_knows_the_job(init: Init) -> None:
    asked: list[Any] = []

    def sampler(context: Any) -> float:
        asked.append(context.get("django_job"))
        return 0.0

    kept = init({"traces_sampler": sampler})
    jobs.send.delay(7)
    ran()
    assert kept.transactions == []
    assert asked == [{"name": jobs.send.name, "queue": "mail", "attempt": 1}]


def test_snoozed_job_is_no_error(init: Init) -> None:
    kept = init(report_retries=True)
    snooze.delay()
    ran()
    assert kept.events == []
    assert kept.transactions[0]["contexts"]["trace"]["status"] == "ok"


# --- check-ins ----------------------------------------------------------------------------------


def due(job_name: str, **fields: Any) -> Schedule:
    given: dict[str, Any] = {"name": "Clean carts", "kind": "interval", "interval_seconds": 7200}
    schedule = Schedule.objects.create(**{**given, "job_name": job_name, **fields})
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", -1))
    return schedule


@pytest.mark.parametrize(
    ("function", "ends"),
    [
        (jobs.fail, ["in_progress", "error"]),
        (add, ["in_progress", "ok"]),
        (flaky, ["in_progress", "in_progress", "error"]),
        (expected, ["in_progress", "error"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_job_of_a_schedule_checks_in(init: Init, function: Any, ends: list[str]) -> None:
    kept = init(monitor_schedules=True)
    due(function.name, timezone="Europe/Berlin", args=[1] if function is add else [])
    fire_due("default")
    row = Job.objects.get()
    ran()
    found = kept.of("check_in")
    assert [each["status"] for each in found] == ends
    assert {each["check_in_id"] for each in found} == {row.id.hex}
    assert {each["monitor_slug"] for each in found} == {"clean-carts"}
    assert found[0]["monitor_config"] == {
        "schedule": {"type": "interval", "value": 2, "unit": "hour"},
        "timezone": "Europe/Berlin",
    }
    assert "duration" not in found[0] or found[0]["duration"] is None
    assert found[-1]["duration"] >= 0
    assert "sentry-trace" not in row.headers


def test_job_that_is_replaced_has_ended_its_check_in(init: Init) -> None:
    kept = init(monitor_schedules=True)
    due(become.name, args=[dict(add.s(1, 2))])
    fire_due("default")
    ran()
    assert Job.objects.get().result == 3
    assert [each["status"] for each in kept.of("check_in")] == ["in_progress", "ok"]
    assert kept.events == []


def test_only_ticks_of_monitored_schedules_check_in(init: Init) -> None:
    kept = init(monitor_schedules=["Other"])
    schedule = due(add.name, args=[1])
    due(add.name, args=[1], name="Other")
    fire_due("default")
    schedules.run_now(schedule)
    ran()
    assert {each["monitor_slug"] for each in kept.of("check_in")} == {"other"}
    assert len(kept.of("check_in")) == 2


def test_job_that_a_monitored_job_enqueues_does_not_check_in(init: Init, settings: Any) -> None:
    @job(name="sentry.enqueues")
    def enqueues() -> None:
        jobs.add.delay(1)

    settings.DJANGO_JOBS = {"HEADERS": ["django_jobs.middleware.locale_headers"]}
    kept = init(monitor_schedules=True)
    due(enqueues.name)
    fire_due("default")
    ran()
    assert Job.objects.get(name=jobs.add.name).headers["language"]
    assert [each["status"] for each in kept.of("check_in")] == ["in_progress", "ok"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "crontab", "crontab": "*/5 8-17 * * mon-fri", "jitter_seconds": 90},
         {"schedule": {"type": "crontab", "value": "*/5 8-17 * * mon-fri"}, "timezone": "UTC",
          "checkin_margin": 3}),
        ({"kind": "interval", "interval_seconds": 604_800},
         {"schedule": {"type": "interval", "value": 1, "unit": "week"}, "timezone": "UTC"}),
        ({"kind": "interval", "interval_seconds": 300},
         {"schedule": {"type": "interval", "value": 5, "unit": "minute"}, "timezone": "UTC"}),
        ({"kind": "crontab", "crontab": "0 0 * * 5#2"}, None),
        ({"kind": "crontab", "crontab": "0 0 * * *", "one_off": True}, None),
        ({"kind": "interval", "interval_seconds": 30}, None),
        ({"kind": "interval", "interval_seconds": 90}, None),
        ({"kind": "solar", "solar_event": "sunset"}, None),
        ({"kind": "clocked"}, None),
    ],
)  # fmt: skip
def test_monitor_has_the_times_of_the_schedule(fields: Any, expected: Any) -> None:
    monitor = monitor_of(Schedule(name="x", timezone="UTC", **fields))
    assert (monitor and monitor["config"]) == expected


def test_slugs_are_sentrys() -> None:
    assert slug_of("Clean carts") == "clean-carts"
    assert slug_of("shop.jobs.clean_carts") == "shop-jobs-clean_carts"
    slugs = {slug_of(name) for name in ("每日报告", "每周报告", "7", "x" * 200, "x" * 201)}
    assert len(slugs) == 5
    assert all(len(slug) <= 50 and not slug.isdigit() for slug in slugs)
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for slug in slugs)


# --- set-up -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"report_retries": 1}, {"propagate_traces": None}, {"send_arguments": "no"},
     {"monitor_schedules": "nightly"}],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=rf"DjangoJobsIntegration\({name}=\.\.\.\) must be"):
        DjangoJobsIntegration(**options)


def test_streamed_spans_are_refused() -> None:
    with pytest.raises(DidNotEnable, match="Leave trace_lifecycle out"):
        DjangoJobsIntegration().setup_once_with_options({"trace_lifecycle": "stream"})


def test_older_sdk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentry_sdk, "VERSION", "2.18.0")
    with pytest.raises(DidNotEnable, match=r"needs sentry-sdk 2\.19 or newer, and 2\.18\.0 is in"):
        DjangoJobsIntegration.setup_once()


def test_without_a_client_nothing_happens(init: Init) -> None:
    kept = init()
    sentry_sdk.get_global_scope().set_client(None)
    charge.delay(7)
    ran()
    assert kept.items == []
    assert Job.objects.get().headers is None


def test_missing_sdk_is_named_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['sentry_sdk'] = None\n"
        "try:\n    import django_jobs.contrib.sentry\n"
        "except ImportError as error:\n    print(error)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert "pip install 'django-background-jobs[sentry]'" in out.stdout


def test_event_keeps_no_frame_of_the_job_alive(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    class Big:
        alive = 0

        def __init__(self) -> None:
            Big.alive += 1

        def __del__(self) -> None:
            Big.alive -= 1

    @job(name="sentry.big")
    def big() -> None:
        kept = Big()
        raise ValueError(str(bool(kept)))

    init()
    # The handlers of pytest keep all records.
    monkeypatch.setattr(logging.getLogger("django_jobs"), "propagate", False)
    big.delay()
    ran()
    gc.collect()
    assert Big.alive == 0


def test_view_that_cannot_enqueue_has_an_event_without_arguments_and_rows(init: Init) -> None:
    transport = init()

    def refused(execute: Any, sql: str, *others: Any) -> Any:
        return execute(sql.replace("django_jobs_job", "no_table"), *others)

    with transaction.atomic(), connection.execute_wrapper(refused):
        try:
            login.delay("ada", SECRET)
        except DatabaseError:
            sentry_sdk.capture_exception()
        transaction.set_rollback(True)
    (event,) = transport.events
    frames = exception_of(event)["stacktrace"]["frames"]
    assert frames[0]["vars"]["transport"]  # the variables of the view's own frame
    assert {frame["module"].split(".")[0] for frame in frames} >= {"django_jobs", "django"}
    assert SECRET not in json.dumps(event)
