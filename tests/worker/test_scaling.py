"""A supervisor changes the number of its processes, by command or by their load."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.worker.autoscale import Autoscale, Load, Report
from django_jobs.worker.child_process import BEAT, Child
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.scaling import Scaling

pytestmark = pytest.mark.once


def a_child(index: int, load: Load = Load.IDLE, **fields: Any) -> Any:
    shared_slots = SimpleNamespace(
        load=Report(load, time.monotonic() - 60), running=list, watched=False
    )
    return SimpleNamespace(
        index=index, pid=1_000 + index, shared_slots=shared_slots, surplus=False, **fields
    )


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two processes, a beat, and a third process that is about to start."""
    monkeypatch.setattr(Child, "dispensability", dispensability)
    by_pid = {child.pid: child for child in (a_child(0), a_child(1), a_child(BEAT))}
    return SimpleNamespace(
        by_pid=by_pid,
        vacant={2: time.monotonic()},
        options_at=dict.fromkeys(range(10), WorkerOptions()),
        stopping=False,
        watched=False,
    )


def dispensability(child: Any) -> int:
    return child.index


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_more_processes_take_the_free_indexes(children) -> None:
    scaling = Scaling(children, None)
    del children.by_pid[1_000]
    scaling.resize(2)
    assert scaling.indexes() == {0, 1, 2, 3}


def test_process_that_has_not_started_goes_first(children, signals) -> None:
    scaling = Scaling(children, None)
    scaling.resize(-2)
    assert scaling.indexes() == {0}
    assert signals == [(1_001, signal.SIGTERM)]
    assert children.by_pid[1_001].surplus


def test_one_process_stays(children, signals) -> None:
    with pytest.raises(ValueError, match="has 3 processes, and one stays"):
        Scaling(children, None).resize(-3)
    assert signals == []


def test_no_more_processes_than_the_roster_has_room_for(children) -> None:
    scaling = Scaling(children, None)
    with pytest.raises(ValueError, match="at most 4096 processes, and this one has 3"):
        scaling.resize(4094)
    assert scaling.indexes() == {0, 1, 2}


def test_number_is_not_changed_by_hand_while_the_load_decides(children) -> None:
    with pytest.raises(ValueError, match="scales itself, from 1 to 4 processes"):
        Scaling(children, Autoscale(4, 1, 30.0)).resize(1)


def test_processes_tell_their_load_while_it_decides(children, signals) -> None:
    scaling = Scaling(children, None)
    assert not children.watched
    scaling.set_autoscale(4, 1, 30.0)
    assert children.watched
    assert all(child.shared_slots.watched for child in children.by_pid.values())
    assert scaling.bounds() == {"most": 4, "least": 1, "idle_seconds": 30.0}
    scaling.set_autoscale(None, None, None)
    assert not children.watched
    assert scaling.bounds() == {}


def test_idle_process_is_stopped_and_the_next_look_comes_later(children, signals) -> None:
    children.vacant.clear()
    scaling = Scaling(children, Autoscale(4, 1, 30.0))
    scaling.scale()
    scaling.scale()
    assert signals == [(1_001, signal.SIGTERM)]


def test_supervisor_that_stops_does_not_scale(children, signals) -> None:
    children.stopping = True
    Scaling(children, Autoscale(4, 1, 0.0)).scale()
    assert signals == []
