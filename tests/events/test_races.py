"""Forced races of events: each order of commits and looks lets the job go on once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from django_jobs import JobContext, control, job, send_event
from django_jobs.control import jobs as revoking
from django_jobs.db import clock
from django_jobs.db.postgresql import PostgreSQL
from django_jobs.events import delivery, ending
from django_jobs.maintenance import events
from django_jobs.models import Event, EventWait, Job
from django_jobs.status import Status
from django_jobs.steps.events import Wait
from django_jobs.values import Outcome
from tests.races import Aside, held, someone_waits
from tests.test_races import Pause

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered_here", "switching"),
]

Until = Callable[..., None]
Work = Callable[..., list[Outcome]]


@job(name="tests.events.waits", bind=True)
def waits(self: JobContext) -> Any:
    return self.wait_for_event("paid", timeout=3_600)


@pytest.fixture
def registered_here(registered: dict[str, Any]) -> None:
    registered[waits.name] = waits


@pytest.fixture
def several_writers(vendor: str) -> None:
    if vendor == "sqlite":
        pytest.skip("one transaction at a time writes")


def states() -> list[str]:
    return list(Job.objects.order_by("id").values_list("status", flat=True))


@pytest.mark.usefixtures("several_writers")
def test_event_that_is_sent_while_the_wait_is_written(
    work: Work, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(Wait.asked)
    monkeypatch.setattr(Wait, "asked", lambda *args: pause(*args))
    waits.delay()
    worker = Aside(work)
    until(pause.reached.is_set)
    send_event("paid", 1)  # its look finds no wait
    assert Event.objects.get().is_new is False
    pause.go()
    worker.result()
    assert states() == [Status.PENDING]
    assert [outcome.value for outcome in work()] == [1]


@pytest.mark.usefixtures("several_writers")
def test_wait_is_written_while_the_event_is_not_committed(work: Work) -> None:
    waits.delay()
    with held(lambda: send_event("paid", 2)):
        work()  # its look finds no event, and does not wait for the sender
        assert states() == [Status.WAITING]
        assert EventWait.objects.get().is_new is False
    assert states() == [Status.PENDING]
    assert [outcome.value for outcome in work()] == [2]


def test_process_that_died_before_its_look_loses_nothing(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.events.send.offer", lambda *args: None)
    monkeypatch.setattr("django_jobs.steps.events.look", lambda *args: None)
    with transaction.atomic():
        send_event("paid", 3)
    waits.delay()
    work()
    assert (states(), Event.objects.get().is_new) == ([Status.WAITING], True)
    monkeypatch.undo()
    events.run_once("default")
    assert states() == [Status.PENDING]


@pytest.mark.usefixtures("several_writers")
def test_two_looks_give_one_event_to_one_job(work: Work, until: Until) -> None:
    for _ in range(2):
        waits.delay()
        work()
    event = new_event(4)
    with held(lambda: list(Job.objects.select_for_update())):
        both = [
            Aside(lambda wait=wait: delivery._give(event, [wait], "default"))
            for wait in EventWait.objects.order_by("id")
        ]
        until(someone_waits)
    assert sorted(one.result().ended for one in both) == [0, 1]
    assert sorted(states()) == [Status.PENDING, Status.WAITING]
    assert not Event.objects.exists()


@pytest.mark.usefixtures("several_writers")
@pytest.mark.parametrize("second", ["timeout", "revoke", "event"])
@pytest.mark.parametrize("first", ["timeout", "revoke", "event"])
def test_wait_ends_once(
    work: Work, until: Until, monkeypatch: pytest.MonkeyPatch, vendor: str, first: str, second: str
) -> None:
    """Whichever locks the job first ends its wait; the other finds that it is over."""
    result = waits.delay()
    work()
    EventWait.objects.update(until=clock("default", -1))
    (wait,) = EventWait.objects.all()
    event = new_event(5)
    do: dict[str, Callable[[], Any]] = {
        "timeout": lambda: events._time_out("default"),
        "revoke": lambda: control.revoke([result.id]),
        "event": lambda: delivery._give(event, [wait], "default"),
    }
    pause = paused(monkeypatch, first, vendor)
    one = Aside(do[first])
    until(pause.reached.is_set)
    other = Aside(do[second])
    until(lambda: someone_waits() or not other.is_alive())
    pause.go()
    one.result()
    other.result()
    assert not EventWait.objects.exists()
    assert Event.objects.exists() == (first != "event")
    (status,) = states()
    if "revoke" in (first, second):
        # A revoke also ends the job that has just become ready.
        assert status == Status.REVOKED
        return
    assert status == Status.PENDING
    (outcome,) = work()
    assert outcome.value == 5 if first == "event" else outcome.status == Status.FAILURE


@pytest.mark.usefixtures("several_writers")
@pytest.mark.parametrize("first", ["timeout", "revoke", "event"])
def test_event_that_is_sent_while_the_wait_ends_is_kept(
    work: Work, until: Until, monkeypatch: pytest.MonkeyPatch, vendor: str, first: str
) -> None:
    result = waits.delay()
    work()
    (wait,) = EventWait.objects.all()
    event = new_event(5)
    do: dict[str, Callable[[], Any]] = {
        "timeout": lambda: events._time_out("default"),
        "revoke": lambda: control.revoke([result.id]),
        "event": lambda: delivery._give(event, [wait], "default"),
    }
    EventWait.objects.update(until=clock("default", -1))
    pause = paused(monkeypatch, first, vendor)
    one = Aside(do[first])
    until(pause.reached.is_set)
    monkeypatch.undo()
    other = Aside(lambda: send_event("paid", 6))
    until(lambda: someone_waits() or not other.is_alive())
    pause.go()
    one.result()
    other.result()
    assert not EventWait.objects.exists()
    assert list(Event.objects.filter(payload=6).values_list("is_new", flat=True)) == [False]


@pytest.mark.usefixtures("several_writers")
def test_two_senders_give_one_event_to_the_job_and_keep_the_other(work: Work, until: Until) -> None:
    waits.delay()
    work()
    with held(lambda: list(Job.objects.select_for_update())):
        both = [Aside(lambda n=n: send_event("paid", n)) for n in (1, 2)]
        until(someone_waits)
    for one in both:
        one.result()
    assert states() == [Status.PENDING]
    (outcome,) = work()
    (kept,) = Event.objects.all()
    assert {outcome.value, kept.payload} == {1, 2}
    assert kept.is_new is False


def new_event(payload: Any) -> Event:
    """Return an event for which a look has found no job."""
    return Event.objects.create(
        name="paid", payload=payload, is_new=False,
        sent_at=clock("default"), expires_at=clock("default", 60),
    )  # fmt: skip


def paused(monkeypatch: pytest.MonkeyPatch, what: str, vendor: str) -> Pause:
    """Hold what ends a wait when it has locked the job."""
    if what == "event" and vendor == "postgresql":
        pause = Pause(PostgreSQL.give_event)
        monkeypatch.setattr(PostgreSQL, "give_event", lambda *arguments: pause(*arguments))
        return pause
    module: Any = revoking if what == "revoke" else ending
    pause = Pause(module.lock_jobs)
    monkeypatch.setattr(module, "lock_jobs", pause)
    return pause


def test_sender_holds_no_lock_of_a_job(work: Work) -> None:
    result = waits.delay()
    work()
    with transaction.atomic():
        send_event("paid")
        assert states() == [Status.WAITING]
        Aside(lambda: Job.objects.filter(pk=result.uuid).select_for_update().count()).result()
    assert states() == [Status.PENDING]
