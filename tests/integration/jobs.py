"""Job functions that tell files what they do, for tests that look on from another process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import datetime
import fcntl
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.core import mail
from django.db import connection, transaction

from django_jobs import EventTimeout, JobContext, SoftTimeLimitExceeded, current_job, job, progress
from django_jobs.models import Job
from tests.integration import (  # noqa: F401 (their functions are found here)
    batch_jobs,
    durable,
    greenlets,
)


def wait_for(path: str) -> None:
    """Return when somebody has made the file *path*."""
    while not Path(path).exists():
        time.sleep(0.005)


def note(folder: str, line: object) -> None:
    with Path(folder, "notes").open("a") as notes:
        notes.write(f"{line}\n")


@job
def mark(folder: str, line: Any) -> Any:
    note(folder, line)
    return line


@job(bind=True)
def await_event(self: JobContext, name: str, timeout: float | None = None) -> Any:
    try:
        return self.wait_for_event(name, timeout=timeout)
    except EventTimeout:
        return "too late"


@job
async def mark_async(folder: str, line: Any) -> Any:
    note(folder, line)
    return line


@job
def hold(folder: str, name: str = "go") -> int:
    """Say which process runs it, then wait for a file."""
    note(folder, os.getpid())
    wait_for(f"{folder}/{name}")
    return os.getpid()


@job(acks_late=False)
def hold_once(folder: str) -> None:
    note(folder, os.getpid())
    wait_for(f"{folder}/go")
    note(folder, "end")


@job(acks_late=False, keep_log=True)
def hold_once_and_log(folder: str) -> None:
    logging.getLogger("shop").warning("holding")
    hold_once(folder)


@job
async def hold_async(folder: str) -> None:
    note(folder, os.getpid())
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.005)


@job
def hold_until_revoked(folder: str) -> None:
    note(folder, os.getpid())
    while not current_job.revoked:
        time.sleep(0.005)
    note(folder, "revoked")


@job(queue="limited", time_limit=1)
def never_release_the_gil(folder: str) -> None:
    note(folder, os.getpid())
    ctypes.PyDLL(None).sleep(60)


@job(queue="limited", soft_time_limit=0.2, time_limit=20)
def swallow_exceptions(folder: str) -> str:
    while True:
        try:
            wait_for(f"{folder}/never")
        except SoftTimeLimitExceeded:
            return "tidied up"
        except Exception:
            continue


@job(queue="coroutines", soft_time_limit=0.2)
async def limited_async() -> str:
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "never"


@job(queue="coroutines", time_limit=0.2)
async def hard_limited_async() -> None:
    await asyncio.sleep(60)


@job
def die(folder: str) -> None:
    note(folder, os.getpid())
    os._exit(9)


@job
def print_much() -> int:
    for stream in (sys.stdout, sys.stderr):
        print("Grüße × " * 2_000, file=stream, flush=True)
    return 1


@job
def leave_transaction_open() -> None:
    transaction.atomic().__enter__()
    # Each call has its own name: InnoDB may find a deadlock where three write the same one.
    Group.objects.create(name=f"never committed {uuid.uuid4()}")


@job
def begin_with_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
    Group.objects.create(name=f"never committed either {uuid.uuid4()}")


@job
def write_group(name: str) -> str:
    Group.objects.create(name=name)
    return name


@job(atomic=True)
def write_and_hold(folder: str, name: str) -> str:
    Group.objects.create(name=name)
    note(folder, os.getpid())
    wait_for(f"{folder}/go")
    return name


@job
def show_progress(folder: str) -> None:
    progress(1, 2, "half done")
    wait_for(f"{folder}/go")


class Broken(JobContext):
    """A context that cannot be made."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError("broken around the body")


@job(base=Broken)
def never_begun() -> None:
    raise AssertionError


@job(base=Broken)
async def never_begun_async() -> None:
    raise AssertionError


@job
def show_nonsense() -> None:
    progress(float("nan"))


@job(autoretry_for=(ValueError,), retry_backoff=0.01, retry_jitter=False)
def fail_twice(folder: str) -> int:
    note(folder, current_job.request.retries)
    if current_job.request.retries < 2:
        raise ValueError("not yet")
    return int(current_job.request.retries)


@job
def count_groups() -> int:
    return Group.objects.count()


@job
def eat_memory() -> int:
    eaten.append(b"x" * 200_000_000)
    return os.getpid()


eaten: list[bytes] = []


@job
def step(value: int = 0) -> int:
    """Take about as long as it takes to be killed in the middle of it."""
    time.sleep(0.002)
    return value + 1


@job
def gather(values: list[int]) -> int:
    time.sleep(0.002)
    return sum(values)


@job(concurrency=1, concurrency_key=["key"])
def exclusive(folder: str, key: int) -> None:
    """Note when another one of the same key runs in any process; a dead one holds no lock."""
    with Path(folder, f"key-{key}").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(folder, "overlap")
        time.sleep(0.02)
        fcntl.flock(file, fcntl.LOCK_UN)


@job(rate_limit="20/s")
def rated() -> None: ...


@job(rate_limit="5/s", rate_limit_key=["key"])
def rated_by_key(key: int) -> None: ...


SUBJECT = "original"


@job
def send_mail(address: str) -> int:
    return mail.send_mail(SUBJECT, "", None, [address])


@dataclasses.dataclass(frozen=True)
class Fee:
    amount: Decimal
    due: datetime.datetime


@job
def later(fees: set[Fee], by: datetime.timedelta) -> set[Fee]:
    return {dataclasses.replace(fee, due=fee.due + by) for fee in fees}


@job
async def later_async(fees: set[Fee], by: datetime.timedelta) -> set[Fee]:
    return {dataclasses.replace(fee, due=fee.due + by) for fee in fees}


def status_of(job_id: str) -> str:
    """Return the status in the row, read in another thread: an event loop may run in this one."""

    def read() -> str:
        try:
            return str(Job.objects.values_list("status", flat=True).get(pk=job_id))
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


class Listening(JobContext):
    """Notes what the row says when a hook runs, and whether it runs as its job."""

    def on_success(self, retval: Any, job_id: str, args: list[Any], kwargs: Any) -> None:
        note(args[0], f"on_success {status_of(job_id)} {current_job.request.id == job_id}")

    def on_failure(
        self, exc: BaseException, job_id: str, args: list[Any], kwargs: Any, einfo: str
    ) -> None:
        note(args[0], f"on_failure {status_of(job_id)} {current_job.request.id == job_id}")


@job(base=Listening)
def be_heard(folder: str) -> None:
    note(folder, "body")


@job(base=Listening)
async def be_heard_async(folder: str) -> None:
    note(folder, "body")


@job(base=Listening)
def be_heard_failing(folder: str) -> None:
    note(folder, "body")
    raise ValueError("no")


@job(base=Listening, atomic=True)
def be_heard_atomic(folder: str) -> None:
    note(folder, "body")


class Hanging(JobContext):
    def on_success(self, retval: Any, job_id: str, args: list[Any], kwargs: Any) -> None:
        note(args[0], f"hook {os.getpid()}")
        while True:
            time.sleep(0.01)


@job(base=Hanging, time_limit=2, queue="limited")
def hang_in_a_hook(folder: str) -> None:
    note(folder, "body")


@contextlib.contextmanager
def note_around(running: JobContext) -> Iterator[None]:
    folder = running.request.args[0]
    note(folder, "in")
    try:
        yield
    finally:
        note(folder, f"out {running.outcome.status if running.outcome else None}")


@job
def hold_then_thread(folder: str) -> int:
    """As :func:`hold`; then start a thread, which an interpreter that ends refuses."""
    hold(folder)
    with concurrent.futures.ThreadPoolExecutor() as executor:
        return executor.submit(os.getpid).result()


@job
def say(text: str) -> None:
    logging.getLogger("shop.orders").warning("%s\ud800", text, extra={"order": 7})
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


@job(max_retries=0)
def fail_with(text: str) -> None:
    raise ValueError(text)
