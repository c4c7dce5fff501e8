"""The job functions of the measured bodies."""

import asyncio
from typing import Any

from django_jobs import job

from . import body

#: The queue of coroutines, which no gevent pool serves.
COROUTINES = "coroutines"

note = job(name="note")(body.note)
sleep = job(name="sleep")(body.sleep)
use_orm = job(name="use_orm")(body.use_orm)
same = job(name="same")(body.same)
count = job(name="count")(body.count)


@job(name="note_async", queue=COROUTINES)
async def note_async(number: int) -> int:
    return body.note(number)


@job(name="sleep_async", queue=COROUTINES)
async def sleep_async(number: int, seconds: float) -> int:
    body.note(number)
    await asyncio.sleep(seconds)
    return number


@job(name="fan_out")
def fan_out(number: int, count: int) -> int:
    body.note(number)
    note.delay_many([(child,) for child in range(count)])
    return count


@job(name="steps", bind=True)
def steps(self: Any, number: int, count: int = 3) -> int:
    """Do *count* steps that only return a number."""
    for each in range(int(count)):
        self.step(f"step {each}", body.same, each)
    return body.note(number)


@job(name="awaits", bind=True)
def awaits(self: Any, number: int) -> int:
    """Wait for the event of this *number*."""
    self.wait_for_event(f"event {number}")
    return body.note(number)
