"""Random orders of all steps: no ready job is left while a worker is idle, without any guard."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from django_jobs.worker import dispatched
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.claim_timer import ClaimTimer
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.producer import Producer
from django_jobs.worker.ready_queues import ReadyQueues

from .dispatching import Host, Worker
from .parts import a_buffer, nothing

pytestmark = pytest.mark.once

QUEUES = ("a", "b")
NEVER = 1e9


class Database:
    """The ready jobs by queue, and the notifications that are on their way."""

    def __init__(self, chance: random.Random) -> None:
        self.jobs = dict.fromkeys(QUEUES, 0)
        self.topics: list[str] = []
        self.claims = 0
        self.enqueued = 0
        self._chance = chance

    def enqueue(self, number: int) -> None:
        queue = self._chance.choice(QUEUES)
        self.jobs[queue] += number
        self.enqueued += number
        self.topics.append(f"{queue}\tid" if number == 1 else queue)

    def ready_queues(self, using: str) -> list[str]:
        return [queue for queue, number in self.jobs.items() if number]

    def claim(self, worker: Any, queues: list[str], limit: int, using: str) -> Any:
        self.claims += 1
        found: list[Any] = []
        for queue in queues:
            while self.jobs[queue] and len(found) < limit:
                self.jobs[queue] -= 1
                found.append(SimpleNamespace(begin_by=None, queue=queue))
        return found, False


class Claiming(Worker):
    """A worker with the real parts that decide when to claim."""

    def __init__(self, host: Host, database: Database, slots: int) -> None:
        options = WorkerOptions(pool="threads", slots=slots)
        super().__init__(host.line, pool="threads", slots=slots)
        state = LoopState(UUID(int=1), options)
        self.buffer: JobBuffer = a_buffer(host.clock)
        self.timer = ClaimTimer(host.clock, 0.0)
        self.queues = ReadyQueues(state, nothing, host.clock)
        quarantine: Any = SimpleNamespace(is_on=lambda: False, is_wary=False, begin=nothing)
        connections: Any = SimpleNamespace(tries_one=False, claim_from=0.0)
        self.producer = Producer(
            state,
            self.buffer,
            self.wakeup,
            timer=self.timer,
            queues=self.queues,
            quarantine=quarantine,
            connections=connections,
            hand_over=self.buffer.put,
            rests_until=lambda: 0.0,
            claim=database.claim,
            clock=host.clock,
        )
        self._slots = slots

    def turn(self) -> None:
        """Claim if it is time, then sleep."""
        if (want := self.producer.wanted()) > 0:
            self.producer.claim(want)
        else:
            for topic in self.sleep(self.producer.is_idle()):
                if self.queues.hear(topic):
                    self.timer.heard()

    def begin(self) -> None:
        """Let a job begin in each free slot."""
        for slot in range(self._slots):
            if slot not in self.buffer._running:
                self.buffer.take(slot, wait=False)

    def end(self) -> None:
        for slot in list(self.buffer._running):
            self.buffer.free(slot, 0.0)


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(dispatched, "LONGEST_SECONDS", NEVER)
    host = Host()
    host.notified.next_look = lambda: NEVER
    yield host
    host.close()


def connect(host: Host, seed: int, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database(random.Random(seed))
    monkeypatch.setattr("django_jobs.worker.ready_queues.ready_queues", database.ready_queues)
    host.dispatcher._ready_queues = database.ready_queues
    return database


@pytest.mark.parametrize("seed", range(15))
def test_no_job_is_left(host, monkeypatch, seed):
    chance, database = random.Random(seed), connect(host, seed, monkeypatch)

    def add() -> None:
        slots = chance.choice((1, 1, 3))
        host.workers.append(Claiming(host, database, slots))

    def kill() -> None:
        host.workers.pop(chance.randrange(len(host.workers))).die()
        if len(host.workers) < 2:
            add()

    def replace() -> None:
        host.dispatcher.close()
        host.begin()
        host.dispatcher._ready_queues = database.ready_queues

    def deliver() -> None:
        topics, database.topics = database.topics, []
        host.notify(*topics)

    for _ in range(4):
        add()
    quiet: list[Any] = [
        *[lambda: database.enqueue(1)] * 2, deliver,
        *[lambda: chance.choice(host.workers).turn()] * 5,
        *[lambda: chance.choice(host.workers).begin()] * 3,
        lambda: chance.choice(host.workers).end(),
    ]  # fmt: skip
    mishaps = [kill, kill, add, lambda: database.enqueue(chance.randrange(2, 9)), replace]
    for number in range(20):
        for _ in range(chance.randrange(60)):
            chance.choice(quiet)()
        if number % 3:
            chance.choice(mishaps)()
        left, rounds = -1, 0
        while rounds < 3:  # without a job that was claimed
            left, before = sum(database.jobs.values()), left
            rounds = rounds + 1 if left == before else 0
            for worker in host.workers * 2:
                deliver()
                worker.turn()
                worker.begin()
                worker.end()
        assert left == 0
    assert database.enqueued > 20


def test_single_job_takes_one_claim_however_many_workers_are_idle(host, monkeypatch):
    database = connect(host, 0, monkeypatch)
    for _ in range(20):
        host.workers.append(Claiming(host, database, 1))
    for number in range(3 + 50):
        if number >= 3:
            database.enqueue(1)
        host.notify(*database.topics)
        database.topics.clear()
        for worker in host.workers:
            worker.turn()
            worker.turn()
            worker.begin()
            worker.end()
    assert database.claims == database.enqueued == 50
