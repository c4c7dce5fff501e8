"""The races of the asyncio pool and of the waker, each played in the order that once hung."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.ids import uuid7
from django_jobs.process.wakeup import Waker
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.pools import EventLoopPool
from django_jobs.worker.shared_slots import SharedSlots
from tests.waiting import LONG


class QuickLoop:
    """A loop that ends as soon as the last job has ended, before the pool's thread runs."""

    def __init__(self) -> None:
        self.buffer = JobBuffer(self.wake, None)
        self.pool: Any = None

    def wake(self) -> None:
        self.buffer.close()
        self.pool.wake()


@pytest.mark.parametrize("function", ["plain", "coroutine"])
def test_event_loop_ends_when_the_buffer_closes_while_the_last_job_ends(monkeypatch, function):
    loop = QuickLoop()
    options = SimpleNamespace(slots=2, max_memory=None)
    pool = EventLoopPool(
        SimpleNamespace(name="w", options=options, buffer=loop.buffer, shared_slots=SharedSlots(2))
    )
    loop.pool = pool
    job = SimpleNamespace(id=uuid7(), claims=1, name="job", begin_by=None)
    outcome = SimpleNamespace(began=0.0, ended=0.0)

    async def ended_at_once(*_: Any) -> Any:
        return outcome

    module = "django_jobs.worker.pools.eventloop"
    monkeypatch.setattr(
        f"{module}.registry.find", lambda name: SimpleNamespace(is_async=function == "coroutine")
    )
    monkeypatch.setattr(f"{module}.execute_async", ended_at_once)
    monkeypatch.setattr(pool, "_plain_environment", lambda *_: None)
    monkeypatch.setattr(pool, "environment", lambda *_: None)
    monkeypatch.setattr(pool, "run_one", lambda slot, job, _: pool.ended(slot, job, outcome))

    loop.buffer.put([job])
    thread = threading.Thread(target=pool.run, daemon=True)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()


class CallBeforeOpcode:
    """Calls the waker before that instruction of :meth:`Waker.wait`, as another thread might."""

    def __init__(self, waker: Waker, number: int) -> None:
        self.waker = waker
        self.left = number

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name not in ("wait", "_take_call"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.waker.wake()
        return self


def test_waker_loses_no_call_whichever_instruction_it_comes_before():
    tried = 0
    while True:
        waker = Waker()
        tracer = CallBeforeOpcode(waker, tried + 1)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            called, _ = waker.wait(0.0)
        finally:
            sys.settrace(before)
        again, _ = waker.wait(0.0)
        waker.close()
        if tracer.left > 0:  # the wait was over before that instruction
            break
        assert called or again, f"lost before instruction {tried + 1}"
        tried += 1
    assert tried > 20
