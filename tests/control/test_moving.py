"""Jobs that have not begun are moved to another queue or priority, under the limits of both."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import override_settings

from django_jobs.control import move, pause_queue, revoke
from django_jobs.db import own_connection
from django_jobs.exceptions import QueueFull
from django_jobs.limits.admission import Admission
from django_jobs.models import Job, Queue, Reservation, Worker
from django_jobs.status import QUEUED
from django_jobs.values import Claimed
from tests import jobs
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Take = Callable[..., list[Claimed]]


@pytest.fixture
def admit(worker: Worker, take: Take) -> Callable[..., list[str]]:
    """Claim and admit for the worker; return the ids of what may start."""

    def admit(*queues: str) -> list[str]:
        admitted, failed = Admission("default").admit(worker.pk, take(queues=queues, by=worker))
        assert not failed
        return [str(claimed.id) for claimed in admitted]

    return admit


def place(result: Any) -> tuple[str, int, str]:
    row = Job.objects.get(pk=result.uuid)
    return row.queue, row.priority, row.status


@pytest.mark.parametrize("status", QUEUED)
def test_job_that_has_not_begun_is_moved(status: str) -> None:
    result = jobs.add.apply_async((1,), priority=3)
    Job.objects.update(status=status)
    assert move([result.id], queue="mail", priority=-5) == (1, {})
    assert place(result) == ("mail", -5, status)


def test_what_is_not_given_stays() -> None:
    result = jobs.add.apply_async((1,), priority=3)
    move([result.id], queue="mail")
    assert place(result) == ("mail", 3, "PENDING")
    move([result.id], priority=0)
    assert place(result) == ("mail", 0, "PENDING")


def test_moved_jobs_are_claimed_in_their_new_order(take: Take) -> None:
    first, second = jobs.add.delay(1), jobs.add.delay(2)
    move([second.id], priority=1)
    assert [claimed.id for claimed in take(limit=1)] == [second.uuid]
    move([first.id], queue="mail")
    assert take() == []
    assert [claimed.id for claimed in take(queues=("mail",))] == [first.uuid]


def test_jobs_that_are_not_moved_are_counted_by_reason(take: Take) -> None:
    running = jobs.add.delay(1)
    take()
    there = jobs.add.apply_async((2,), queue="mail")
    ended = jobs.add.delay(3)
    Job.objects.filter(pk=ended.uuid).update(status="SUCCESS")
    ids = [running.id, there.id, ended.id, str(uuid.uuid4())]
    assert move(ids, queue="mail") == (
        0,
        {"is started": 1, "is success": 1, "gone": 1, "is there already": 1},
    )
    assert place(running) == ("default", 0, "STARTED")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "Give queue, priority or both"),
        ({"queue": "a,b"}, "must not have a comma"),
        ({"queue": 5}, "must be a printable text"),
        ({"priority": 99_999}, "from -32767 to 32767, got 99999"),
        ({"priority": True}, "got True"),
    ],
)
def test_impossible_place_is_refused(given: dict[str, Any], told: str) -> None:
    result = jobs.add.delay(1)
    with pytest.raises(ValueError, match=told):
        move([result.id], **given)


def test_queue_of_another_database_is_refused(settings: Any) -> None:
    result = jobs.add.delay(1)
    settings.DJANGO_JOBS = {"QUEUES": {"far": {"DATABASE": "other"}}}
    with pytest.raises(ValueError, match=r"'far' lives on database 'other', and the job on"):
        move([result.id], queue="far", using="default")
    assert place(result)[0] == "default"


@override_settings(DJANGO_JOBS={"QUEUES": {"mail": {"MAX_PENDING": 2}}})
def test_full_queue_takes_no_more() -> None:
    jobs.add.apply_async((0,), queue="mail")
    some = [jobs.add.delay(n) for n in range(2)]
    later = jobs.add.apply_async((9,), countdown=60)
    with pytest.raises(QueueFull, match="holds 1 pending jobs and may hold 2"):
        move([result.id for result in some], queue="mail")
    assert {place(result)[0] for result in some} == {"default"}
    # A job that is not pending yet does not count; one in the queue may change its priority.
    assert move([some[0].id, later.id], queue="mail") == (2, {})
    assert move([some[0].id], queue="mail", priority=2) == (1, {})


def test_moving_into_a_paused_queue_pauses_the_job(take: Take) -> None:
    result = jobs.add.delay(1)
    pause_queue("mail")
    move([result.id], queue="mail")
    assert place(result) == ("mail", 0, "PENDING")
    assert take(queues=("mail",)) == []


def test_job_in_line_for_its_queue_leaves_the_line(admit: Callable[..., list[str]]) -> None:
    Queue.objects.create(name="slow", concurrency=1)
    running, waiting = [jobs.add.apply_async((n,), queue="slow") for n in range(2)]
    assert admit("slow") == [running.id]
    assert place(waiting) == ("slow", 0, "WAITING")
    move([waiting.id], priority=4)
    assert place(waiting) == ("slow", 4, "WAITING")
    move([waiting.id], queue="default")
    assert place(waiting) == ("default", 4, "PENDING")
    assert Job.objects.get(pk=waiting.uuid).waiting_for is None
    assert admit("default") == [waiting.id]


def test_job_that_was_woken_for_a_place_leaves_it_to_the_next(
    worker: Worker, admit: Callable[..., list[str]]
) -> None:
    Queue.objects.create(name="slow", concurrency=1)
    running, woken, third = [jobs.add.apply_async((n,), queue="slow") for n in range(3)]
    admit("slow")
    revoke([running.id], terminate=True)
    assert (place(woken)[2], place(third)[2]) == ("PENDING", "WAITING")
    move([woken.id], queue="default")
    assert (place(woken), place(third)) == (("default", 0, "PENDING"), ("slow", 0, "PENDING"))
    assert admit("slow") == [third.id]


def test_job_with_a_time_under_its_queues_rate_comes_at_once(
    admit: Callable[..., list[str]],
) -> None:
    Queue.objects.create(name="slow", rate_limit="1/h")
    first, later = [jobs.add.apply_async((n,), queue="slow") for n in range(2)]
    by_hand = jobs.add.apply_async((9,), queue="slow", countdown=3000)
    assert admit("slow") == [first.id]
    assert place(later)[2] == "SCHEDULED"
    assert Reservation.objects.filter(job_id=later.uuid).count() == 1
    due = Job.objects.get(pk=by_hand.uuid).run_at
    move([later.id, by_hand.id], queue="default")
    assert not Reservation.objects.filter(job_id=later.uuid).exists()
    rows = {row.pk: row for row in Job.objects.all()}
    assert rows[later.uuid].run_at < due
    assert rows[by_hand.uuid].run_at == due
    assert {place(later)[2], place(by_hand)[2]} == {"SCHEDULED"}


def test_thousands_of_jobs_are_moved() -> None:
    jobs.add.delay_many([(n,) for n in range(2_500)])
    ids = list(Job.objects.values_list("pk", flat=True))
    assert move(ids, queue="mail", priority=1) == (2_500, {})
    assert Job.objects.filter(queue="mail", priority=1).count() == 2_500


@pytest.mark.django_db(transaction=True)
def test_job_that_a_worker_takes_meanwhile_is_not_moved() -> None:
    if connection.vendor == "sqlite":
        return  # it has one writer at a time
    result = jobs.add.delay(1)
    locked, done = threading.Event(), []

    def moving() -> None:
        own_connection("default")
        locked.wait(LONG)
        done.append(move([result.id], queue="mail"))
        connections.close_all()

    other = threading.Thread(target=moving)
    other.start()
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=result.uuid)
        locked.set()
        Job.objects.update(status="STARTED")
    other.join(LONG)
    assert done == [(0, {"is started": 1})]
    assert place(result) == ("default", 0, "STARTED")
