"""Batch functions that the tests of real workers enqueue."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group

from django_jobs import BatchError, Call, Retry, job


def a_call(folder: str, value: Any = 0) -> None:
    """The parameters of a call of these functions."""


def note(calls: list[Call]) -> None:
    """Write the size of the batch into the test's folder."""
    with (Path(calls[0].args[0]) / "notes").open("a") as notes:
        notes.write(f"{len(calls)}\n")


@job(batch_size=50, batch_seconds=0.1, call_signature=a_call)
def double(calls: list[Call]) -> list[Any]:
    note(calls)
    return [2 * call.args[1] for call in calls]


@job(batch_size=50, batch_seconds=0.1, call_signature=a_call)
async def double_async(calls: list[Call]) -> list[Any]:
    note(calls)
    await asyncio.sleep(0)
    return [2 * call.args[1] for call in calls]


def _ends(calls: list[Call]) -> list[Any]:
    errors: dict[int, BaseException] = {}
    for index, call in enumerate(calls):
        if call.args[1] == "bad":
            errors[index] = ValueError("a bad value")
        elif call.args[1] == "again" and call.retries == 0:
            errors[index] = Retry(countdown=0)
    results = [f"{call.args[1]} {call.retries}" for call in calls]
    if errors:
        raise BatchError(errors, results)
    return results


@job(batch_size=50, batch_seconds=0.1)
def several_ends(calls: list[Call]) -> list[Any]:
    return _ends(calls)


@job(batch_size=50, batch_seconds=0.1)
async def several_ends_async(calls: list[Call]) -> list[Any]:
    return _ends(calls)


@job(batch_size=50, batch_seconds=0.1, atomic=True)
def store(calls: list[Call]) -> None:
    Group.objects.bulk_create([Group(name=str(call.args[0])) for call in calls])


@job(batch_size=10, batch_seconds=0.1)
def poisoned(calls: list[Call]) -> list[int]:
    note(calls)
    if any(call.args[1] == "poison" for call in calls):
        os.kill(os.getpid(), signal.SIGKILL)
    return [call.args[1] for call in calls]


@job(batch_size=10, batch_seconds=0.1, acks_late=False)
def poisoned_once(calls: list[Call]) -> None:
    note(calls)
    if any(call.args[1] == "poison" for call in calls):
        os.kill(os.getpid(), signal.SIGKILL)


@job(queue="limited", batch_size=10, batch_seconds=0.1, time_limit=2)
def hang(calls: list[Call]) -> None:
    note(calls)
    time.sleep(600)


@job(queue="coroutines", batch_size=10, batch_seconds=0.1, soft_time_limit=0.2)
async def hang_async(calls: list[Call]) -> None:
    note(calls)
    await asyncio.sleep(600)


@job(batch_size=100, batch_seconds=60)
def held(calls: list[Call]) -> None:
    note(calls)


@job(batch_size=2, batch_seconds=60)
def until_revoked(calls: list[Call]) -> list[bool]:
    """End when the first of two calls is revoked."""
    note(calls)
    while not any(call.revoked for call in calls):
        time.sleep(0.01)
    return [call.revoked for call in calls]
