"""Job functions that attack the process that runs them."""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction

from django_jobs import job

from .jobs import note, wait_for

ENDS: dict[str, type[BaseException]] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
}


@job
def raise_end(name: str) -> None:
    raise ENDS[name]("the body's own")


@job
async def raise_end_async(name: str) -> None:
    await asyncio.sleep(0)
    raise ENDS[name]("the body's own")


@job
async def raise_end_in_a_task(name: str) -> None:
    await asyncio.create_task(raise_end_async.__wrapped__(name))


@job
async def stop_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    return "went on"


@job
async def cancel_all_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


@job
async def hold_the_orm_thread(folder: str) -> None:
    await sync_to_async(note)(folder, "held")
    await sync_to_async(wait_for)(f"{folder}/go")


@job
async def count_groups_async() -> int:
    return await Group.objects.acount()


@job
async def leave_transaction_open_async() -> None:
    await sync_to_async(_open_transaction)()


def _open_transaction() -> None:
    transaction.atomic().__enter__()
    Group.objects.create(name="never committed")


@job(queue="coroutines", time_limit=0.2)
async def outlive_the_limit_in_a_thread(folder: str) -> None:
    await sync_to_async(time.sleep)(0.0)
    await sync_to_async(wait_for)(f"{folder}/go")
