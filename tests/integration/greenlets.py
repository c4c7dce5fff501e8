"""Job functions for a gevent pool."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, connections
from django.utils import timezone

from django_jobs import job

QUEUE = "greenlets"


class Gauge:
    """How many jobs are at one place of their code at a time, and the most so far."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


gauge = Gauge()
name_of: ContextVar[str] = ContextVar("name_of")


@job(queue=QUEUE)
def meet(number: int) -> str:
    """Return when so many jobs are here at once; tell what has replaced Python's threads."""
    gauge.__enter__()
    while gauge.most < number:
        time.sleep(0.05)
    return type(connections._connections._storage).__module__ + " " + time.sleep.__module__


@job(queue=QUEUE)
def use_a_connection(alias: str = "default") -> list[Any]:
    """Return the most jobs that had a connection at once, and the number of this one's session."""
    Group.objects.count()
    with gauge:
        time.sleep(0.005)
        Group.objects.using(alias).count()
        time.sleep(0.005)
    return [gauge.most, id(connection.connection)]


@job(queue=QUEUE)
def keep_apart(name: str) -> list[Any]:
    name_of.set(name)
    timezone.activate(f"Etc/GMT+{int(name) % 12}")
    time.sleep(0.01)
    return [name_of.get(), str(timezone.get_current_timezone())]


@job(queue=QUEUE, keep_log=True)
def log_its_name(name: str) -> None:
    time.sleep(0.01)
    logging.getLogger("shop").warning("line of %s", name)
    time.sleep(0.01)


@job(queue=QUEUE, atomic=True)
def write_and_wait(name: str) -> int:
    Group.objects.create(name=name)
    time.sleep(0.02)
    return Group.objects.filter(name=name).count()


@job(queue=QUEUE)
def compute(folder: str) -> None:
    """Compute, and give no other greenlet a turn, until the test makes a file."""
    Path(folder, "computes").touch()
    while not Path(folder, "go").exists():
        pass


@job(queue=QUEUE, time_limit=0.2)
def compute_too_long(folder: str) -> None:
    Path(folder, "computes").touch()
    while True:
        pass


@job(queue=QUEUE, time_limit=0.2)
def wait_too_long(folder: str) -> None:
    with contextlib.suppress(Exception):
        time.sleep(600)


@job(queue=QUEUE, soft_time_limit=0.2)
def wait_a_little_too_long(folder: str) -> None:
    with contextlib.suppress(Exception):
        time.sleep(600)


@job(queue=QUEUE)
def wait_for_ever(folder: str) -> None:
    note(folder, "begun")
    try:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(600)
    finally:
        note(folder, "ended")


def note(folder: str, line: str) -> None:
    with Path(folder, "notes").open("a") as notes:
        notes.write(f"{line}\n")


@job(queue=QUEUE)
def run_a_loop() -> None:
    import asyncio

    asyncio.run(asyncio.sleep(0))


@job(queue=QUEUE)
def fork() -> list[Any]:
    """Return a child's exit code, 7 if no other greenlet ran in it, and that of a program."""
    ticks: list[None] = []
    threading.Thread(target=_tick, args=(ticks,)).start()
    pid = os.fork()
    if not pid:
        before = len(ticks)
        time.sleep(0.02)
        os._exit(7 + len(ticks) - before)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), subprocess.call(["true"])]


def _tick(ticks: list[None]) -> None:
    for _ in range(100):
        time.sleep(0.002)
        ticks.append(None)
