"""The headers that jobs get from the setting ``HEADERS`` and from the jobs that enqueue them."""

from __future__ import annotations

import contextvars
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from pytest_django import DjangoAssertNumQueries

from django_jobs import chain, chord, current_job, group, job
from django_jobs.beat.fire import fire_due
from django_jobs.db import clock
from django_jobs.models import Job, Schedule
from django_jobs.testing import run_jobs
from tests import jobs
from tests.enqueue import test_headers as here
from tests.workflows.jobs import add, become, fail, flaky, received, total, widen

pytestmark = pytest.mark.django_db

PATH = here.__name__
Drain = Callable[..., Any]
EAGER = pytest.mark.parametrize("eager", [False, True])

_tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
calls: list[str] = []
seen: list[dict[str, Any]] = []


def tenant() -> dict[str, str]:
    calls.append("tenant")
    name = _tenant.get("")
    return {"tenant": name} if name else {}


def language() -> dict[str, str]:
    return {"language": "zh"}


def english() -> dict[str, str]:
    return {"language": "en"}


def broken() -> dict[str, str]:
    raise LookupError("the password is hunter2")


def a_text() -> Any:
    return "acme"


def no_json() -> dict[str, Any]:
    return {"user": object()}


NUMBER = 7


@pytest.fixture(autouse=True)
def one_tenant(settings: Any) -> Iterator[None]:
    """Enqueue in a tenant, whose name a function of HEADERS returns."""
    settings.DJANGO_JOBS = {"HEADERS": [f"{PATH}.tenant"]}
    token = _tenant.set("acme")
    calls.clear()
    seen.clear()
    yield
    _tenant.reset(token)


@pytest.fixture
def enqueue(registered: Any, drain: Drain, settings: Any) -> Callable[..., None]:
    """Enqueue a canvas and run it, by a worker or in this process, where there is no tenant."""

    def run(canvas: Any, eager: bool) -> None:
        settings.DJANGO_JOBS = {"HEADERS": [f"{PATH}.tenant"], "EAGER": eager}
        canvas.apply_async()
        token = _tenant.set("")
        drain()
        _tenant.reset(token)

    return run


def headers_of(*names: str) -> list[Any]:
    rows = Job.objects.filter(name__in=names) if names else Job.objects.all()
    return list(rows.order_by("id").values_list("headers", flat=True))


@job
def note(*args: Any) -> None:
    seen.append(dict(current_job.request.headers))


@job
def note_from_a_job(*headers: dict[str, str]) -> None:
    for each in headers:
        note.apply_async(headers=each)


@job
def note_for_each_tenant(*names: str) -> None:
    for name in names:
        _tenant.set(name)
        note.delay()


# --- calls --------------------------------------------------------------------------------------


def test_every_call_has_the_headers() -> None:
    jobs.add.delay(1)
    jobs.add.apply_async((1,), countdown=60)
    async_to_sync(jobs.add.adelay)(1)
    assert headers_of() == [{"tenant": "acme"}] * 3


def test_calls_of_delay_many_share_one_look() -> None:
    jobs.add.delay_many([(1,), (2,)])
    assert headers_of() == [{"tenant": "acme"}] * 2
    assert calls == ["tenant"]


def test_headers_of_the_call_win() -> None:
    jobs.add.apply_async((1,), headers={"order": 7})
    jobs.add.apply_async((1,), headers={"tenant": "other"})
    assert headers_of() == [{"tenant": "acme", "order": 7}, {"tenant": "other"}]


def test_later_functions_win(settings: Any) -> None:
    settings.DJANGO_JOBS = {
        "HEADERS": [f"{PATH}.{each.__name__}" for each in (language, tenant, english)]
    }
    jobs.add.delay(1)
    assert headers_of() == [{"tenant": "acme", "language": "en"}]


def test_functions_that_return_nothing_leave_the_column_empty() -> None:
    _tenant.set("")
    jobs.add.delay(1)
    assert headers_of() == [None]


def test_headers_cost_no_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        jobs.add.delay(1)


def test_job_keeps_the_headers_over_its_retries() -> None:
    flaky.delay()
    _tenant.set("other")
    run_jobs(at=datetime.timedelta(hours=1))
    row = Job.objects.get()
    assert (row.status, row.retries, row.headers) == ("SUCCESS", 2, {"tenant": "acme"})


# --- jobs that enqueue jobs ---------------------------------------------------------------------


def test_job_that_a_job_enqueues_inherits_the_headers(enqueue: Any) -> None:
    canvas = note_from_a_job.s({}, {"order": 7}, {"tenant": "other"})
    enqueue(canvas.set(headers={"language": "zh"}), False)
    parent = {"tenant": "acme", "language": "zh"}
    assert seen == [parent, {**parent, "order": 7}, {**parent, "tenant": "other"}]


def test_job_that_changes_the_tenant_enqueues_for_that_tenant(enqueue: Any) -> None:
    enqueue(note_for_each_tenant.s("one", "two"), False)
    assert [each["tenant"] for each in seen] == ["one", "two"]


def test_nothing_is_inherited_without_the_setting(settings: Any, drain: Drain) -> None:
    settings.DJANGO_JOBS = {}
    note_from_a_job.apply_async(({},), headers={"order": 7})
    drain()
    assert seen == [{}]


# --- workflows ----------------------------------------------------------------------------------


def test_every_job_of_a_workflow_has_the_headers() -> None:
    chain(add.s(1), group(add.s(2), add.s(3).set(headers={"tenant": "other"}))).apply_async()
    chord([add.s(1), add.s(2)], total.s()).set(headers={"order": 7}).apply_async()
    jobs.add.apply_async((1,), link=add.s(2))
    mine = {"tenant": "acme"}
    assert headers_of() == [
        *[mine, mine, {"tenant": "other"}],
        *[{**mine, "order": 7}] * 3,
        *[mine, mine],
    ]
    assert calls == ["tenant"] * 3


@EAGER
def test_errback_inherits_the_headers_of_the_failed_job(enqueue: Any, eager: bool) -> None:
    enqueue(chain(fail.s().on_error(note.s()), add.s(1)), eager)
    assert seen == [{"tenant": "acme"}]


@EAGER
def test_errback_of_a_chord_inherits_the_headers_of_the_member(enqueue: Any, eager: bool) -> None:
    member = fail.s().set(headers={"order": 7})
    enqueue(chord([add.s(1), member], total.s().on_error(note.s())), eager)
    assert seen == [{"tenant": "acme", "order": 7}]


@EAGER
def test_errback_keeps_its_own_headers(enqueue: Any, eager: bool) -> None:
    enqueue(fail.s().on_error(note.s().set(headers={"tenant": "other"})), eager)
    assert seen == [{"tenant": "other"}]


def test_errback_inherits_nothing_without_the_setting(settings: Any, drain: Drain) -> None:
    settings.DJANGO_JOBS = {}
    fail.apply_async(headers={"order": 7}, link_error=received.s())
    drain()
    assert headers_of(received.name) == [None]


@EAGER
def test_job_goes_on_with_its_headers_as_something_else(enqueue: Any, eager: bool) -> None:
    enqueue(become.s(note.s()), eager)
    assert seen == [{"tenant": "acme"}]


@EAGER
def test_added_member_has_the_headers(enqueue: Any, eager: bool) -> None:
    enqueue(chord([widen.s(1, note.si())], received.s()), eager)
    assert seen == [{"tenant": "acme"}]


# --- schedules ----------------------------------------------------------------------------------


def due_schedule(**fields: Any) -> Schedule:
    schedule = Schedule.objects.create(
        name="s", job_name=jobs.add.name, args=[1], kind="interval", interval_seconds=60, **fields
    )
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", -1))
    return schedule


def test_beat_calls_the_functions_and_the_schedules_headers_win() -> None:
    due_schedule(headers={"tenant": "other", "order": 7})
    fire_due("default")
    assert headers_of() == [{"tenant": "other", "order": 7}]
    Schedule.objects.update(headers=None, next_run_at=clock("default", -1))
    fire_due("default")
    assert headers_of()[-1] == {"tenant": "acme"}


def test_function_that_raises_is_the_schedules_last_error(settings: Any) -> None:
    settings.DJANGO_JOBS = {"HEADERS": [f"{PATH}.broken"]}
    schedule = due_schedule()
    fire_due("default")
    schedule.refresh_from_db()
    assert f"{PATH}.broken(), which HEADERS names, raised LookupError." in schedule.last_error
    assert schedule.skipped_count == 1
    assert headers_of() == []


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "raised LookupError. Let it return an empty dict when it has nothing to add."),
        ("a_text", "returned a str. Let it return a dict of JSON."),
        ("no_json", "returned a dict that is no JSON. The dict['user'] is an object"),
    ],
)
def test_function_that_fails_is_named(settings: Any, name: str, message: str) -> None:
    settings.DJANGO_JOBS = {"HEADERS": [f"{PATH}.tenant", f"{PATH}.{name}"]}
    for call in (lambda: jobs.add.delay(1), chain(add.s(1), add.s(2)).apply_async):
        with pytest.raises(ImproperlyConfigured) as caught:
            call()
        assert str(caught.value).startswith(f"{PATH}.{name}(), which HEADERS names, {message}")
        assert "hunter2" not in str(caught.value)
    assert headers_of() == []


def test_function_that_is_gone_is_named(settings: Any) -> None:
    settings.DJANGO_JOBS = {"HEADERS": [f"{PATH}.gone"]}
    with pytest.raises(ImproperlyConfigured, match=r"HEADERS names '.*\.gone', which cannot be"):
        jobs.add.delay(1)
