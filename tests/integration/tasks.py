"""Job functions that attack the process that runs them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_jobs import job
from tests.integration import leftovers  # noqa: F401 (its functions are found here)
from tests.integration.jobs import note, wait_for

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


@job
def leave_the_process(folder: str, code: int) -> None:
    note(folder, os.getpid())
    os._exit(code)


@job
def close_the_descriptors(folder: str) -> None:
    """Return from a process that can record nothing any more.

    Its other threads may open connections anew before it ends: those are closed, too.
    """
    note(folder, os.getpid())

    def close_again() -> None:
        while True:
            os.closerange(3, 256)

    os.closerange(3, 256)
    threading.Thread(target=close_again, daemon=True).start()


@job(queue="limited", time_limit=60)
def hold_a_row_with_children(folder: str, name: str) -> None:
    """Lock a row and note a program, a fork that has the session too, and one that left."""
    # SQLite would let nobody else write anything.
    with contextlib.nullcontext() if connection.vendor == "sqlite" else transaction.atomic():
        if connection.vendor != "sqlite":
            Group.objects.filter(name="row").update(name="row")
        program = subprocess.Popen(["/bin/sleep", "600"])
        gone = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
        fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        fork.start()
        note(folder, f"{name} {os.getpid()} {program.pid} {fork.pid} {gone.pid}")
        wait_for(f"{folder}/never")


@job(queue="limited", time_limit=4)
def hold_a_row_too_long(folder: str, name: str) -> None:
    hold_a_row_with_children.__wrapped__(folder, name)


@job(queue="gil")
def keep_the_gil() -> None:
    ctypes.PyDLL(None).sleep(600)


@job
def leave_an_orphan(folder: str) -> None:
    shell = "(sleep 0.1 & echo $!)"
    orphan = subprocess.run(["/bin/sh", "-c", shell], stdout=subprocess.PIPE, check=True)
    note(folder, orphan.stdout.decode().strip())


@job
def fork_and_leave(folder: str, how: str) -> int:
    """Fork a child that leaves the body like any other code; return its exit code."""
    return _fork_and_leave(folder, how)


@job
async def fork_and_leave_async(folder: str, how: str) -> int:
    return _fork_and_leave(folder, how)


def _fork_and_leave(folder: str, how: str) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    note(folder, os.getpid())
    if how == "raise":
        raise ValueError("in the child")
    if how == "exit":
        sys.exit(3)
    return 99


@job
def use_multiprocessing() -> list[Any]:
    """Return a pool's results, a terminated child's exit code and what children see of the ORM."""
    before = Group.objects.count()
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        doubled = pool.map(_double, [1, 2, 3])
        # With SQLite a child must not open what its parent has open.
        seen = before if connection.vendor == "sqlite" else pool.apply(Group.objects.count)
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join(60)
    return [doubled, process.exitcode, seen == Group.objects.count() == before]


def _double(number: int) -> int:
    return 2 * number
