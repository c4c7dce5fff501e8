"""The queues that a worker looks at: heard from notifications or read from the database."""

from __future__ import annotations

from uuid import UUID

import pytest

from django_jobs.enqueue.notify import Topic
from django_jobs.process.wakeup import GUARD_SECONDS
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.ready_queues import QUEUES_SECONDS, ReadyQueues
from tests.worker.parts import Clock


class Source:
    """What the database tells, and how often it was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.asked = 0

    def __call__(self, using: str) -> list[str]:
        self.asked += 1
        return self.names


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()
    monkeypatch.setattr("django_jobs.worker.ready_queues.ready_queues", source)
    return source


@pytest.fixture
def state() -> LoopState:
    return LoopState(UUID(int=1), WorkerOptions(exclude_queues=("other",)))


@pytest.fixture
def topics() -> list[str]:
    """The topics that are no queues."""
    return []


@pytest.fixture
def queues(state: LoopState, topics: list[str], clock: Clock) -> ReadyQueues:
    return ReadyQueues(state, topics.append, clock)


def test_database_is_asked_once_in_a_while(
    queues: ReadyQueues, source: Source, clock: Clock
) -> None:
    source.names = ["b", "a", "other"]
    assert queues.names() == ["a", "b"]
    source.names = []
    assert queues.names() == ["a", "b"]
    clock.advance(QUEUES_SECONDS)
    assert queues.names() == []
    assert source.asked == 2


def test_queue_that_was_heard_need_not_be_read(
    queues: ReadyQueues, source: Source, clock: Clock
) -> None:
    queues.names()
    clock.advance(QUEUES_SECONDS)
    assert queues.hear("a")
    assert queues.names() == ["a"]
    assert source.asked == 1


def test_lost_notification_is_found_although_others_are_heard(
    queues: ReadyQueues, source: Source, clock: Clock
) -> None:
    queues.names()
    source.names = ["missed"]
    clock.advance(GUARD_SECONDS)
    queues.hear("a")
    assert "missed" in queues.names()


def test_change_without_a_name_lets_the_database_be_asked(
    queues: ReadyQueues, source: Source
) -> None:
    queues.names()
    source.names = ["a"]
    assert queues.hear(Topic.ANY)
    assert queues.names() == ["a"]


def test_queue_that_the_worker_does_not_serve_is_not_heard(queues: ReadyQueues) -> None:
    assert not queues.hear("other")


def test_queue_that_was_heard_before_the_options_changed_is_left_out(
    queues: ReadyQueues, state: LoopState, source: Source
) -> None:
    queues.names()
    queues.hear("a")
    state.options = WorkerOptions(exclude_queues=("a",))
    assert queues.names() == []


@pytest.mark.parametrize("topic", [Topic.TIMED, Topic.COMMANDS])
def test_other_topics_are_passed_on(
    queues: ReadyQueues, source: Source, topics: list[str], topic: str
) -> None:
    assert not queues.hear(topic)
    source.names = [topic]
    assert queues.names() == []
    assert topics == [topic, topic]
