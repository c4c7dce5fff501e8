"""The heartbeat file of a worker is touched while each of its processes takes steps."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_jobs.worker.child_process import BEAT
from django_jobs.worker.children import Children
from django_jobs.worker.liveness import HUNG_SECONDS, Liveness
from django_jobs.worker.loop import WorkerLoop
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.pulse import Pulse
from django_jobs.worker.shared_slots import SharedSlots
from tests.waiting import LONG
from tests.worker.parts import Clock


class File:
    """Counts its touches."""

    def __init__(self) -> None:
        self.touches = 0

    def touch(self) -> None:
        self.touches += 1


@pytest.fixture
def file() -> Any:
    return File()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def liveness(file: Any, clock: Clock) -> Liveness:
    return Liveness(file, clock)


def test_file_waits_for_the_first_step_of_each_process(
    liveness: Liveness, file: File, clock: Clock
) -> None:
    liveness.look({0: 0.0, 1: 0.0, BEAT: 0.0})
    liveness.look({0: clock(), 1: clock(), BEAT: 0.0})
    assert file.touches == 0
    liveness.look({0: clock(), 1: clock(), BEAT: clock()})
    assert file.touches == 1


@pytest.mark.parametrize("hung", [0, BEAT])
def test_process_that_hangs_stops_the_touches(
    liveness: Liveness, file: File, clock: Clock, hung: int
) -> None:
    processes, start = (0, 1, BEAT), clock()
    liveness.look(dict.fromkeys(processes, start))
    clock.advance(HUNG_SECONDS - 1)
    liveness.look({**dict.fromkeys(processes, clock()), hung: start})
    assert file.touches == 2
    clock.advance(2)
    liveness.look({**dict.fromkeys(processes, clock()), hung: start})
    assert file.touches == 2
    liveness.look(dict.fromkeys(processes, clock()))
    assert file.touches == 3


def test_process_that_dies_again_and_again_before_its_first_step_stops_the_touches(
    liveness: Liveness, file: File, clock: Clock
) -> None:
    liveness.look({0: clock(), 1: clock()})
    clock.advance(60)
    liveness.look({0: clock(), 1: 0.0})
    assert file.touches == 2
    clock.advance(HUNG_SECONDS)
    liveness.look({0: clock(), 1: 0.0})
    assert file.touches == 2


def test_added_process_has_time_to_start(liveness: Liveness, file: File, clock: Clock) -> None:
    liveness.look({0: clock()})
    clock.advance(2 * HUNG_SECONDS)
    liveness.look({0: clock(), 1: 0.0})
    assert file.touches == 2
    clock.advance(HUNG_SECONDS)
    liveness.look({0: clock(), 1: 0.0})
    assert file.touches == 2


def test_process_that_is_no_longer_wanted_is_forgotten(
    liveness: Liveness, file: File, clock: Clock
) -> None:
    liveness.look({0: clock(), 1: clock()})
    clock.advance(2 * HUNG_SECONDS)
    liveness.look({0: clock()})
    assert file.touches == 2


def test_long_lease_allows_long_pauses_between_heartbeats(
    settings: Any, file: Any, clock: Clock
) -> None:
    settings.DJANGO_JOBS = {"HEARTBEAT_SECONDS": 600, "LEASE_SECONDS": 1800}
    liveness = Liveness(file, clock)
    start = clock()
    liveness.look({0: start})
    clock.advance(700)
    liveness.look({0: start})
    assert file.touches == 2


def test_slowest_loop_counts() -> None:
    loop, heartbeat = SimpleNamespace(turns=0), SimpleNamespace(rounds=0)
    coordinator = SimpleNamespace(heartbeat=heartbeat)
    worker: Any = SimpleNamespace(loop=loop, coordinator=coordinator)
    pulse = Pulse(worker, lambda: None)
    assert pulse._last_step(1.0) == 0.0
    loop.turns += 1
    assert pulse._last_step(2.0) == 0.0
    heartbeat.rounds += 1
    assert pulse._last_step(3.0) == 2.0
    loop.turns += 5
    assert pulse._last_step(4.0) == 3.0
    heartbeat.rounds += 1
    assert pulse._last_step(5.0) == 4.0


def test_process_beside_a_coordinator_has_one_loop() -> None:
    worker: Any = SimpleNamespace(loop=SimpleNamespace(turns=0), coordinator=None)
    pulse = Pulse(worker, lambda: None)
    assert pulse._last_step(1.0) == 0.0
    worker.loop.turns += 1
    assert pulse._last_step(2.0) == 2.0


def test_turn_that_the_database_refuses_is_a_step(
    new_loop: Callable[..., WorkerLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("away")

    loop = new_loop()
    monkeypatch.setattr(loop, "step", refuse)
    loop.wakeup.waker.wake()
    assert loop.turn()
    assert loop.turns == 1
    loop.wakeup.waker.wake()
    loop.wait_to_start(LONG)
    assert loop.turns == 2


def test_steps_are_those_of_the_processes_that_there_should_be() -> None:
    children = Children(WorkerOptions())
    slots = [SharedSlots(1) for _ in range(2)]
    slots[0].stepped = 5.0
    children.vacant = {3: 7.0}
    children.by_pid = {
        10: SimpleNamespace(index=0, surplus=False, shared_slots=slots[0]),  # type: ignore[dict-item]
        11: SimpleNamespace(index=1, surplus=True, shared_slots=slots[1]),  # type: ignore[dict-item]
    }
    assert children.steps() == {0: 5.0, 3: 0.0}
