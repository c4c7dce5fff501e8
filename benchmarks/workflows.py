"""Workflows of each system's canvas, timed from the call to the result."""

from __future__ import annotations

import time
from typing import Any

#: The number of workflows per result.
ROUNDS = 5


def chord(canvas: Any, jobs: Any, size: int) -> Any:
    """A chord: parallel jobs, then one that counts their results."""
    return canvas.chord([jobs.same.s(number) for number in range(size)], jobs.count.s())


def chained_chords(canvas: Any, jobs: Any, size: int) -> Any:
    """A chain of chords with three jobs each."""
    workflow = jobs.same.s(0)
    for _ in range(size):
        header = canvas.group(jobs.same.s() for _ in range(3))
        workflow = canvas.chain(workflow, header, jobs.count.s())
    return workflow


def chain(canvas: Any, jobs: Any, size: int) -> Any:
    """A chain of jobs."""
    return canvas.chain(jobs.same.s(0), *[jobs.same.s() for _ in range(size - 1)])


def group(canvas: Any, jobs: Any, size: int) -> Any:
    """A group of jobs."""
    return canvas.group(jobs.same.s(number) for number in range(size))


WORKFLOWS = {made.__name__: made for made in (chord, chained_chords, chain, group)}


def timed(canvas: Any, jobs: Any, name: str, size: int, *, whole: bool) -> list[float]:
    """Return the seconds of each workflow; without *whole*, only those of the call."""
    seconds = []
    for _ in range(ROUNDS + 1):
        workflow = WORKFLOWS[name](canvas, jobs, size)
        began = time.perf_counter()
        result = workflow.apply_async()
        if whole:
            result.get(timeout=60)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]
