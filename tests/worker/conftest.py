from __future__ import annotations

from uuid import UUID

import pytest

from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions

from .parts import Clock, a_buffer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> LoopState:
    return LoopState(UUID(int=1), WorkerOptions())


@pytest.fixture
def buffer(clock: Clock) -> JobBuffer:
    return a_buffer(clock)
