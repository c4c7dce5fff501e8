"""Commands change a worker's options and its number of processes; no process is started."""

from __future__ import annotations

import dataclasses
import select
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import TextField, Value

from django_jobs import job
from django_jobs.control import commands, pause_queue
from django_jobs.db import clock
from django_jobs.ids import uuid7
from django_jobs.metrics import capped_count
from django_jobs.models import Command, Worker
from django_jobs.run.claim import ready_queues
from django_jobs.run.execute import Environment
from django_jobs.worker import worker_info
from django_jobs.worker.autoscale import Autoscale, Gauge, Load, Report
from django_jobs.worker.command_handler import CommandHandler
from django_jobs.worker.command_router import Answer, CommandRouter
from django_jobs.worker.dispatch_line import DispatchLine
from django_jobs.worker.option_commands import changed_options
from django_jobs.worker.options import WorkerOptions, build
from django_jobs.worker.shared_slots import SharedSlots
from django_jobs.worker.supervisor_channel import SupervisorChannel
from django_jobs.worker.worker import WorkerProcess
from tests import jobs
from tests.waiting import LONG

# --- options ------------------------------------------------------------------------------------

SOME = WorkerOptions(queues=("a", "b"))
EVERY = WorkerOptions(exclude_queues=("slow",))


@pytest.mark.parametrize(
    ("options", "verb", "arguments", "changed"),
    [
        (SOME, "quiet", {}, {"quiet": True}),
        (WorkerOptions(quiet=True), "resume", {}, {"quiet": False}),
        (SOME, "add-queue", {"queue": "c"}, {"queues": ("a", "b", "c")}),
        (SOME, "add-queue", {"queue": "a"}, {}),
        (EVERY, "add-queue", {"queue": "slow"}, {"exclude_queues": ()}),
        (EVERY, "add-queue", {"queue": "a"}, {}),
        (SOME, "remove-queue", {"queue": "a"}, {"queues": ("b",)}),
        (SOME, "remove-queue", {"queue": "c"}, {}),
        (EVERY, "remove-queue", {"queue": "a"}, {"exclude_queues": ("slow", "a")}),
        (EVERY, "remove-queue", {"queue": "slow"}, {}),
    ],
)
def test_command_changes_the_options(
    options: WorkerOptions, verb: str, arguments: dict[str, Any], changed: dict[str, Any]
) -> None:
    once = changed_options(options, verb, arguments)
    assert once == dataclasses.replace(options, **changed)
    assert changed_options(once, verb, arguments) == once


def test_worker_keeps_its_last_queue() -> None:
    with pytest.raises(ValueError, match="'a' is this worker's only queue"):
        changed_options(WorkerOptions(queues=("a",)), "remove-queue", {"queue": "a"})


def test_time_limits_are_set_replaced_and_taken_back() -> None:
    def limit(options: WorkerOptions, hard: float | None, soft: float | None) -> WorkerOptions:
        return changed_options(
            options, "time-limit", {"job": jobs.add.name, "hard": hard, "soft": soft}
        )

    options = limit(WorkerOptions(), 5, None)
    assert options.time_limits == {jobs.add.name: (5, None)}
    assert limit(options, 6, 3).time_limits == {jobs.add.name: (6, 3)}
    assert limit(options, None, None).time_limits == {}
    with pytest.raises(ValueError, match="A hard time limit cannot stop a thread"):
        limit(WorkerOptions(pool="threads"), 5, None)


@pytest.mark.django_db
def test_time_limit_of_an_operator_beats_the_declared_but_not_the_calls(
    registered: dict[str, Any], run: Any, work: Any
) -> None:
    seen: list[tuple[Any, Any]] = []

    @job(name="limited", bind=True, time_limit=50, soft_time_limit=40)
    def limited(self: Any) -> None:
        seen.append((self.request.time_limit, self.request.soft_time_limit))

    environment = Environment(time_limits={"limited": (9, None)})
    run(limited, environment=environment)
    limited.apply_async(time_limit=5)
    work(environment=environment)
    run(limited)
    assert seen == [(9, 40), (5, 40), (50, 40)]


# --- autoscale ----------------------------------------------------------------------------------

IDLE, BUSY, BEHIND = (Report(load, 0.0) for load in (Load.IDLE, Load.BUSY, Load.BEHIND))
NEW = Report(Load.UNKNOWN, 0.0)
FRESHLY_BEHIND, FRESHLY_IDLE = Report(Load.BEHIND, 99.9), Report(Load.IDLE, 99.9)


@pytest.mark.parametrize(
    ("size", "reports", "change"),
    [
        (2, [BEHIND, BEHIND], 1),
        (2, [BEHIND, BUSY], 0),
        (2, [BEHIND, IDLE], 0),
        (2, [BEHIND, NEW], 0),
        (2, [BEHIND, FRESHLY_BEHIND], 0),
        (4, [BEHIND] * 4, 0),  # the most
        (3, [IDLE, BUSY, BEHIND], -1),
        (3, [FRESHLY_IDLE, BUSY, BUSY], 0),
        (2, [IDLE, IDLE], 0),  # the least
        (1, [BUSY], 1),  # below the least
        (7, [BUSY] * 7, -3),  # above the most
        (3, [], 0),  # all are quiet
    ],
)
def test_autoscale_rule(size: int, reports: list[Report], change: int) -> None:
    assert Autoscale(most=4, least=2, idle_seconds=30).change(size, reports, 100.0) == change


class FakeBuffer:
    jobs_done = 0
    counted = (0, 0, 0)

    def counts(self) -> tuple[int, int, int]:
        return self.counted


def test_gauge_reads_the_buffer() -> None:
    buffer = FakeBuffer()
    asked: list[bool] = []

    def read(behind: bool = False) -> Load:
        def is_behind() -> bool:
            asked.append(behind)
            return behind

        return gauge.read(is_behind).load

    gauge = Gauge(buffer, 2)  # type: ignore[arg-type]
    assert read() == Load.IDLE
    first = gauge.read(lambda: False)
    assert gauge.read(lambda: False).since == first.since
    buffer.counted = (0, 1, 0)
    assert read(behind=True) == Load.BUSY
    assert asked == []
    buffer.counted = (1, 1, 0)
    assert read(behind=True) == Load.BEHIND
    assert read(behind=False) == Load.BUSY
    # A job that came and went between two looks.
    buffer.counted, buffer.jobs_done = (0, 0, 0), 1
    assert read() == Load.BUSY
    assert read() == Load.IDLE


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"pool": "solo"}, "A solo pool is one process"),
        ({"burst": True}, "--burst ends when the queues are empty"),
        ({"processes": 2, "pool": "threads"}, "leave --processes out"),
        ({"concurrency": 2}, "leave --concurrency out"),
    ],
)
def test_autoscale_is_refused_where_it_makes_no_sense(
    given: dict[str, Any], complaint: str
) -> None:
    options = {"pool": "prefork", "processes": None, "concurrency": None, **given}
    with pytest.raises(ValueError, match=complaint):
        build(autoscale=Autoscale(3, 1, 30), **options)


@pytest.mark.parametrize(
    "size", [{"concurrency": 5000}, {"concurrency": None, "autoscale": Autoscale(5000, 1, 30)}]
)
def test_more_processes_than_the_roster_has_room_for_are_refused(size: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at most 4096 processes, got 5000"):
        build(pool="prefork", processes=None, **size)


def test_autoscaled_worker_starts_with_the_least() -> None:
    options = build(
        pool="threads", processes=None, concurrency=5, autoscale=Autoscale(3, 2, 30), beat=False
    )
    assert (options.processes, options.slots) == (2, 5)


def test_shared_slots_carry_the_load() -> None:
    shared_slots = SharedSlots(2)
    assert (shared_slots.watched, shared_slots.load.load) == (False, Load.UNKNOWN)
    shared_slots.watched, shared_slots.load = True, Report(Load.BEHIND, 12.5)
    assert (shared_slots.watched, shared_slots.load) == (True, Report(Load.BEHIND, 12.5))
    assert shared_slots.running() == []


@pytest.mark.django_db
def test_only_jobs_that_could_be_claimed_make_a_worker_behind() -> None:
    worker = WorkerProcess(
        WorkerOptions(queues=("mail", "slow")), uuid7(), 0, SharedSlots(1), channel=None
    )
    assert worker.chores.is_behind() is False
    jobs.add.apply_async((1,), queue="other")
    jobs.add.apply_async((1,), queue="mail", countdown=60)
    assert worker.chores.is_behind() is False
    jobs.add.apply_async((1,), queue="mail")
    assert worker.chores.is_behind() is True
    pause_queue("mail")
    assert worker.chores.is_behind() is False
    jobs.add.apply_async((1,), queue="slow")
    assert worker.chores.is_behind() is True


# --- channel ------------------------------------------------------------------------------------


def test_channel_carries_answers_and_refusals() -> None:
    channel = SupervisorChannel()

    heard: list[str] = []

    def execute(verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        heard.append(verb)
        if verb == "grow":
            return {"processes": 2, **arguments}
        raise ValueError(f"no {verb}")

    def serve() -> None:
        while heard != ["grow", "shrink"]:
            select.select([channel], [], [], LONG)
            channel.serve(execute)

    supervisor = threading.Thread(target=serve)
    supervisor.start()
    assert channel.ask("grow", {"number": 1}) == {"processes": 2, "number": 1}
    with pytest.raises(ValueError, match="no shrink"):
        channel.ask("shrink", {})
    supervisor.join()
    channel.serve(execute)  # nothing was asked: it does not wait
    channel.close()


# --- handler ------------------------------------------------------------------------------------


class FakeWorker(SimpleNamespace):
    """As much of a worker process as :class:`CommandHandler` needs."""

    def take(self, options: WorkerOptions) -> None:
        self.options = options


class Post:
    """The router of a coordinator and the handler of a worker, with the line between them."""

    def __init__(self, worker: FakeWorker) -> None:
        self.worker = worker
        self.handler = CommandHandler(worker)  # type: ignore[arg-type]
        self.line = DispatchLine()
        self.begin()

    def begin(self) -> None:
        """Let a new coordinator take the place of an older one."""
        self.topics: list[str] = []
        self.router = CommandRouter(
            "default", self.line, ask=lambda: None, on_topic=self.topics.append
        )
        link = self.line.join()
        assert link is not None
        self.link = link
        self.say([])
        self.router.read(LONG)

    def say(self, answers: list[Answer], topic: str = "") -> None:
        self.link.send([str(self.worker.worker_id), topic, answers])
        self.router.read(LONG)

    def run_once(self) -> int:
        """Let the worker execute its open commands and the router write the answers."""
        found = self.router.run_once()
        while messages := self.link.received():
            for _worker_id, listed in messages:
                if answers := self.handler.take(listed):
                    self.say(answers)
                    self.router.run_once()
        return found

    def close(self) -> None:
        self.link.close()
        self.router.stop()
        self.router.serve()


@pytest.fixture
def fake(worker: Worker) -> FakeWorker:
    terminated: list[Any] = []
    pool = SimpleNamespace(terminate=lambda *job: terminated.append(job) or True)
    buffer = SimpleNamespace(counts=lambda: (1, 2, 3), remove=lambda *job: False)
    return FakeWorker(
        options=WorkerOptions(),
        worker_id=worker.pk,
        name="w",
        channel=None,
        buffer=buffer,
        pool=pool,
        terminated=terminated,
    )


@pytest.fixture
def handler(fake: FakeWorker) -> Iterator[Post]:
    post = Post(fake)
    yield post
    post.close()


@pytest.mark.django_db
def test_worker_that_looks_for_jobs_sees_an_open_command(worker: Worker, handler: Post) -> None:
    assert ready_queues("default") == []
    commands.send("ping")
    assert ready_queues("default") == ["!"]
    assert capped_count.ready_queues("default") == []
    handler.run_once()
    assert Command.objects.get().answer == {"pong": "w", "busy": 2}
    assert ready_queues("default") == []


@pytest.mark.django_db
def test_commands_are_executed_once_and_in_order(worker: Worker, handler: Post) -> None:
    commands.send("quiet")
    commands.send("resume")
    assert handler.run_once() == 2
    assert [command.answer for command in Command.objects.order_by("id")] == [
        {"quiet": True},
        {"quiet": False},
    ]
    assert handler.run_once() == 0
    assert Worker.objects.get().quiet is False


@pytest.mark.django_db
def test_job_that_has_not_begun_is_terminated_where_it_waits(
    handler: Post, fake: FakeWorker
) -> None:
    Command.objects.create(
        worker_id=fake.worker_id,
        name="terminate",
        arguments={"id": str(uuid7()), "claims": 1},
        created_at=clock("default"),
    )
    fake.buffer.remove = lambda *job: True
    handler.run_once()
    assert Command.objects.get().answer == {"stopped": True}
    assert fake.terminated == []


@pytest.mark.django_db
def test_row_shows_the_changed_options(worker: Worker, handler: Post) -> None:
    for verb, arguments in (
        ("quiet", {}),
        ("remove-queue", {"queue": "slow"}),
        ("remove-queue", {"queue": "mail"}),
        ("add-queue", {"queue": "mail"}),
    ):
        commands.send(verb, arguments)
    handler.run_once()
    row = Worker.objects.get()
    assert (row.quiet, row.queues, row.exclude_queues) == (True, [], ["slow"])


@pytest.mark.django_db
@pytest.mark.parametrize("lost", ["with the database", "on the way", "with the coordinator"])
def test_command_is_not_executed_again_when_its_answer_was_lost(
    worker: Worker,
    handler: Post,
    fake: FakeWorker,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    Command.objects.create(
        worker_id=worker.pk,
        name="terminate",
        arguments={"id": str(worker.pk), "claims": 3},
        created_at=worker.heartbeat_at,
    )

    def away(*_: Any) -> Any:
        raise OperationalError("away")

    if lost == "with the database":
        with monkeypatch.context() as patch, pytest.raises(OperationalError):
            patch.setattr("django_jobs.worker.command_router.clock", away)
            handler.run_once()
    else:
        handler.router.run_once()
        ((_worker_id, listed),) = handler.link.received()
        handler.handler.take(listed)
        if lost == "with the coordinator":
            handler.close()
            handler.line = DispatchLine()
            handler.begin()
        else:
            monkeypatch.setattr("django_jobs.worker.command_router._AGAIN_SECONDS", 0.0)
    assert Command.objects.get().done_at is None
    handler.run_once()
    assert Command.objects.get().answer == {"stopped": True}
    assert fake.terminated == [(worker.pk, 3)]


@pytest.mark.django_db
def test_stop_comes_after_its_answer_is_written(
    worker: Worker, handler: Post, fake: FakeWorker
) -> None:
    written: list[Any] = []
    fake.shut_down = lambda cold: written.append((cold, Command.objects.get().answer))
    commands.send("shutdown", {"cold": True})
    handler.run_once()
    assert written == [(True, {"shutdown": "cold"})]


@pytest.mark.django_db
def test_worker_that_ends_knows_whether_rows_lack_its_answers(
    worker: Worker, handler: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[bool] = []
    take = handler.handler.take

    def note(listed: Any) -> list[Answer]:
        answers = take(listed)
        states.append(handler.handler.answers_are_written.is_set())
        return answers

    monkeypatch.setattr(handler.handler, "take", note)
    commands.send("ping")
    assert handler.handler.answers_are_written.is_set()
    handler.run_once()
    assert states == [False, True]


@pytest.mark.django_db
def test_many_commands_reach_a_worker_in_pieces_and_in_order(worker: Worker, handler: Post) -> None:
    for number in range(12):
        commands.send("add-queue", {"queue": f"q{number}"})
        commands.send("remove-queue", {"queue": f"q{number}"})
    handler.run_once()
    assert not Command.objects.filter(done_at=None).exists()
    assert Worker.objects.get().exclude_queues == [f"q{number}" for number in range(12)]


@pytest.mark.django_db
def test_router_does_not_ask_for_commands_of_other_hosts(
    worker: Worker, handler: Post, new_worker: Any
) -> None:
    other = new_worker()
    commands.send("ping")
    handler.run_once()
    assert [command.worker_id for command in Command.objects.filter(done_at=None)] == [other.pk]


@pytest.mark.django_db
def test_worker_that_is_asked_again_has_executed_nothing_twice(
    worker: Worker, handler: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.worker.command_router._AGAIN_SECONDS", LONG)
    commands.send("ping")
    handler.router.run_once()
    assert len(handler.link.received()) == 1
    handler.router.run_once()
    assert handler.link.received() == [], "it had no time to answer"
    monkeypatch.setattr("django_jobs.worker.command_router._AGAIN_SECONDS", 0.0)
    handler.router.run_once()
    assert len(handler.link.received()) == 1


@pytest.mark.django_db
def test_long_arguments_fill_no_socket(worker: Worker, handler: Post) -> None:
    made = {"name": "grow", "worker_id": worker.pk, "created_at": clock("default")}
    Command.objects.create(**made, arguments={"number": "x" * 100_000})
    handler.router.run_once()
    ((_worker_id, ((_id, _name, arguments, _by),)),) = handler.link.received()
    assert 0 < len(arguments) < 20_000
    assert (
        "grow takes number" in handler.handler.take([[1, "grow", arguments, ""]])[0].answer["error"]
    )


@pytest.mark.django_db
def test_router_passes_on_what_a_worker_has_read(handler: Post) -> None:
    handler.say([], topic="@")
    assert handler.topics == ["@"]


@pytest.mark.django_db
def test_router_forgets_a_worker_that_has_ended(worker: Worker, handler: Post) -> None:
    commands.send("ping")
    handler.link.close()
    handler.router.read(LONG)
    assert handler.router.run_once() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("dance", {}, "This worker knows no command 'dance', but add-queue, autoscale, grow"),
        ("ping", {"loud": 1}, "ping takes no argument; got"),
        ("quiet", ["no dict"], "quiet takes no argument; got"),
        ("grow", {"number": 1}, "A solo worker stays one process"),
    ],
)
def test_command_that_cannot_be_executed_is_answered_with_the_reason(
    worker: Worker, handler: Post, name: str, arguments: Any, error: str
) -> None:
    Command.objects.create(
        worker_id=worker.pk, name=name, arguments=arguments, created_at=worker.heartbeat_at
    )
    handler.run_once()
    assert Command.objects.get().answer["error"].startswith(error)


# --- details ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_row_shows_job_functions_and_options_without_secrets(
    settings: Any,
) -> None:
    settings.DJANGO_JOBS = {
        "QUEUES": {"mail": {"API_TOKEN": "hidden"}},
        "ROUTES": [lambda *_: None],
        "SHUTDOWN_GRACE_SECONDS": float("inf"),
    }
    options = WorkerOptions(queues=("mail",), quiet=True)
    process = WorkerProcess(options, uuid7(), 0, SharedSlots(1), channel=None)
    process.lease.begin()
    process.waker.close()
    row = Worker.objects.get()
    assert (row.queues, row.quiet, row.exclude_queues) == (["mail"], True, [])
    assert row.details["registered"] == worker_info.registered()
    assert row.details["registered"][jobs.add.name] == {}
    conf = row.details["conf"]
    assert conf["options"]["queues"] == ["mail"]
    assert conf["settings"]["queues"]["mail"]["API_TOKEN"] == "********"
    assert conf["settings"]["shutdown_grace_seconds"] == "inf"


# --- commands of another version, or by hand ----------------------------------------------------

DEEP = "[" * 100_000


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("grow", '{"number": "x"}', "number must be a whole number from 1 to 1000, got 'x'"),
        ("grow", '{"number": 10000000}', "number must be a whole number from 1 to 1000"),
        ("grow", '{"others": 1}', "grow takes number; got"),
        ("grow", "[1]", "grow takes number; got"),
        ("grow", "5", "grow takes number; got"),
        ("grow", DEEP, "grow takes number; got"),
        ("autoscale", '{"most": "many", "least": "few"}', "most must be a whole number"),
        ("shutdown", '{"cold": 5}', "cold must be True or False, got 5"),
        ("add-queue", '{"queue": {"a": 1}}', "queue must be a printable text"),
        ("time-limit", '{"job": "tests.jobs.add", "hard": "x"}', "hard must be seconds"),
        ("terminate", '{"id": 5}', "TypeError"),
        ("terminate", '{"id": 5, "claims": 1}', "AttributeError"),
        ("quiet", '{"now": true}', "quiet takes no argument; got"),
        ("\n2026 CRITICAL", "{}", "This worker knows no command"),
    ],
)
def test_row_with_wrong_arguments_is_answered_and_the_next_one_executed(
    handler: Post,
    fake: FakeWorker,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    arguments: str,
    message: str,
) -> None:
    caplog.set_level("INFO", logger="django_jobs.worker")
    made: dict[str, Any] = {"worker_id": fake.worker_id, "created_at": clock("default")}
    wrong = Command.objects.create(name=verb, **made)
    text = Value(arguments, output_field=TextField())
    Command.objects.filter(pk=wrong.pk).update(arguments=text)
    Command.objects.create(name="ping", **made)
    assert handler.run_once() == 2
    wrong_answer, ping = (command.answer for command in Command.objects.order_by("id"))
    assert message in wrong_answer["error"]
    assert "pong" in ping
    assert "\n" not in "".join(record.getMessage() for record in caplog.records)


def test_error_in_the_supervisor_is_a_refusal_with_a_traceback_in_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def execute(verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"doubled": arguments["number"] * 2}

    channel = SupervisorChannel()
    answers: list[str] = []

    def ask() -> None:
        try:
            channel.ask("grow", {"others": 1})
        except ValueError as error:
            answers.append(str(error))
        answers.append(channel.ask("grow", {"number": 2})["doubled"])

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        select.select([channel], [], [], 0.05)
        channel.serve(execute)
    channel.close()
    assert answers == ["KeyError: 'number'", 4]
    assert "Traceback" in caplog.text
