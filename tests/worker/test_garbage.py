"""What Python's collector of reference cycles looks at while a worker runs jobs."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.values import Claimed
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.pools import POOLS
from django_jobs.worker.pools.base import PoolSetup
from django_jobs.worker.shared_slots import SharedSlots
from tests.worker.parts import nothing

pytestmark = pytest.mark.once


class Watched(JobBuffer):
    """A buffer without jobs, which notes how many objects the collector leaves out."""

    seen = -1

    def take(self, slot: int, *, wait: bool = True) -> Claimed | None:
        self.seen = gc.get_freeze_count()
        return super().take(slot, wait=wait)


@pytest.fixture
def alarm() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, handler)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(
    ("pool", "embedded", "leaves_out"),
    [("prefork", False, True), ("threads", False, True), ("threads", True, False)],
)
def test_collector_leaves_out_what_was_loaded_before_the_first_job(
    pool: Any, embedded: bool, leaves_out: bool
) -> None:
    before = gc.get_freeze_count()
    buffer = Watched(nothing, None)
    buffer.close()
    options = WorkerOptions(pool=pool, embedded=embedded)
    setup = PoolSetup("w", options, buffer, SharedSlots(1), {}, nothing, bool)
    POOLS[pool](setup).run()
    assert (buffer.seen > before + 1000) is leaves_out
    assert gc.get_freeze_count() == before
