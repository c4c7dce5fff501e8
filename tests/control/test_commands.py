"""Commands for workers: their receivers and arguments; every command is answered."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs.control import commands, pause_queue, resume_queue
from django_jobs.control.command_table import COMMANDS
from django_jobs.maintenance import prune
from django_jobs.models import Command, Queue, Worker
from django_jobs.worker.command_handler import _HANDLERS
from tests import jobs

pytestmark = pytest.mark.django_db


def test_command_is_written_for_each_live_worker(new_worker: Callable[..., Worker]) -> None:
    first, second = new_worker(), new_worker()
    new_worker(lease_seconds=-1)
    beat = new_worker()
    Worker.objects.filter(pk=beat.pk).update(pool=Worker.BEAT)
    sent = commands.send("quiet", by="joe")
    assert {command.worker_id for command in sent} == {first.pk, second.pk}
    assert {(command.name, command.created_by) for command in sent} == {("quiet", "joe")}
    assert {command.done_at for command in sent} == {None}
    assert all(command.created_at for command in sent)


def test_command_to_chosen_workers_reaches_no_other(new_worker: Callable[..., Worker]) -> None:
    chosen, _other = new_worker(), new_worker()
    (command,) = commands.send("ping", workers=[chosen.pk, chosen.pk])
    assert command.worker_id == chosen.pk
    assert command.created_by == ""


def test_command_to_a_dead_worker_is_answered_at_once(new_worker: Callable[..., Worker]) -> None:
    dead, unknown = new_worker(lease_seconds=-1).pk, uuid.uuid4()
    sent = commands.send("ping", workers=[dead, unknown])
    assert {command.worker_id for command in sent} == {dead, unknown}
    assert all(command.done_at for command in sent)
    assert {command.answer["error"] for command in sent} == {commands.WORKER_GONE}


def test_command_for_a_runworker_goes_to_the_process_with_the_newest_heartbeat(
    new_worker: Callable[..., Worker],
) -> None:
    family, other = uuid.uuid4(), uuid.uuid4()
    stuck, fresh = new_worker(supervisor_id=family), new_worker(supervisor_id=family)
    away, solo = new_worker(supervisor_id=other), new_worker()
    later = Worker.objects.get(pk=stuck.pk).heartbeat_at + datetime.timedelta(seconds=1)
    Worker.objects.filter(pk=fresh.pk).update(heartbeat_at=later)
    sent = commands.send("grow", {"number": 2})
    assert {command.worker_id for command in sent} == {fresh.pk, away.pk, solo.pk}
    assert {command.arguments["number"] for command in sent} == {2}


def test_open_command_of_a_worker_that_died_is_answered(worker: Worker) -> None:
    sent = commands.send("ping")
    assert [command.done_at for command in commands.answers(sent)] == [None]
    Worker.objects.filter(pk=worker.pk).update(lost_at=worker.heartbeat_at)
    (command,) = commands.wait(sent, timeout=10)
    assert command.answer == {"error": commands.WORKER_GONE}


def test_commands_of_dead_workers_are_answered_without_a_waiting_caller(
    new_worker: Callable[..., Worker],
) -> None:
    dead, alive = new_worker(), new_worker()
    commands.send("ping")
    Worker.objects.filter(pk=dead.pk).update(lost_at=dead.heartbeat_at)
    prune.run_once("default", uuid.uuid4())
    assert Command.objects.get(worker_id=dead.pk).answer == {"error": commands.WORKER_GONE}
    assert Command.objects.get(worker_id=alive.pk).done_at is None


def test_wait_ends_with_the_last_answer_and_with_its_time(
    new_worker: Callable[..., Worker],
) -> None:
    new_worker()
    new_worker()
    first, second = sent = commands.send("ping")
    Command.objects.filter(pk=first.pk).update(done_at=first.created_at, answer={"pong": True})
    assert [bool(row.done_at) for row in commands.wait(sent, timeout=0)] == [True, False]
    Command.objects.filter(pk=second.pk).update(done_at=first.created_at, answer={"pong": True})
    assert all(row.done_at for row in commands.wait(sent, timeout=60))


def test_sender_with_a_long_name_is_cut(worker: Worker) -> None:
    commands.send("ping", by="x" * 500)
    assert len(Command.objects.get().created_by) == 150


@pytest.mark.parametrize(
    ("verb", "arguments", "complaint"),
    [
        ("dance", {}, "There is no command 'dance'. Use one of ping, quiet"),
        ("ping", {"loud": True}, "ping takes no argument; got"),
        ("grow", {"number": 0}, "number must be a whole number from 1 to 1000, got 0"),
        ("shrink", {"number": True}, "number must be a whole number"),
        ("autoscale", {"most": 1, "least": 2}, "most (1) must not be below least (2)"),
        ("autoscale", {"most": 3, "least": None}, "least must be a whole number"),
        ("autoscale", {"most": 3, "least": 1, "idle_seconds": 0}, "idle_seconds must be seconds"),
        ("autoscale", {"most": 3}, "autoscale takes most, least, idle_seconds; got"),
        ("add-queue", {"queue": "@x"}, "queue must not begin with"),
        ("remove-queue", {"queue": ""}, "queue must be a printable text"),
        ("time-limit", {"job": "nobody"}, "No job function is named 'nobody'"),
        ("time-limit", {"job": jobs.add.name, "hard": -1}, "hard must be seconds > 0, got -1"),
        (
            "time-limit",
            {"job": jobs.add.name, "hard": 1, "soft": 2},
            "The soft limit (2) must be shorter than the hard (1)",
        ),
        ("shutdown", {"cold": "yes"}, "cold must be True or False, got 'yes'"),
    ],
)
def test_wrong_command_is_refused_and_not_written(
    worker: Worker, verb: str, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        commands.send(verb, arguments)
    assert not Command.objects.exists()


def test_arguments_are_completed() -> None:
    assert commands.check("grow", {}) == {"number": 1}
    assert commands.check("shutdown", {}) == {"cold": False}
    assert commands.check("autoscale", {"most": 4, "least": 2}) == {
        "most": 4,
        "least": 2,
        "idle_seconds": 30.0,
    }
    assert commands.check("autoscale", {"most": None, "least": None})["most"] is None
    assert commands.check("time-limit", {"job": jobs.add.name, "soft": 5}) == {
        "job": jobs.add.name,
        "hard": None,
        "soft": 5,
    }


def test_queue_of_another_database_is_refused(settings: Any, worker: Worker) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    with pytest.raises(ValueError, match="lives on database 'reports'"):
        commands.send("add-queue", {"queue": "reports"})


# --- queues -------------------------------------------------------------------------------------


def test_paused_queue_gives_nothing_until_it_is_resumed(take: Callable[..., Any]) -> None:
    jobs.add.delay(1)
    assert pause_queue("default", by="joe") is True
    assert pause_queue("default", by="ann") is False
    row = Queue.objects.get()
    assert (row.name, row.paused_by) == ("default", "joe")
    assert row.paused_at is not None
    assert take() == []
    assert resume_queue("default") is True
    assert resume_queue("default") is False
    row = Queue.objects.get()
    assert (row.paused_at, row.paused_by) == (None, "")
    assert len(take()) == 1


def test_pausing_keeps_what_was_set_for_the_queue() -> None:
    Queue.objects.create(name="mail", concurrency=5)
    pause_queue("mail")
    resume_queue("mail")
    assert Queue.objects.get().concurrency == 5


def test_queue_that_cannot_be_is_not_paused() -> None:
    with pytest.raises(ValueError, match="queue must not begin with"):
        pause_queue("#1")
    assert resume_queue("never heard of") is False


# --- workers ------------------------------------------------------------------------------------


def test_worker_knows_what_it_serves(new_worker: Callable[..., Worker]) -> None:
    every, some, most = (
        new_worker(),
        new_worker(queues=["mail"]),
        new_worker(exclude_queues=["mail"]),
    )
    assert [worker.serves("mail") for worker in (every, some, most)] == [True, True, False]
    assert [worker.serves("slow") for worker in (every, some, most)] == [True, False, True]
    assert Worker(pool=Worker.BEAT).serves("mail") is False


def test_details_of_workers_are_loaded_only_when_asked_for(
    new_worker: Callable[..., Worker], django_assert_num_queries: Any
) -> None:
    new_worker(details={"registered": ["a"]})
    with django_assert_num_queries(1):
        row = Worker.objects.live().get()
    with django_assert_num_queries(1):
        assert row.details == {"registered": ["a"]}


def test_workers_carry_out_every_command_of_the_table() -> None:
    # Both are for one job, and have functions of their own.
    assert set(_HANDLERS) == {*COMMANDS, "terminate", "stack"}
