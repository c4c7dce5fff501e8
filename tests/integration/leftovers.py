"""Job functions that leave something behind in the process that runs them."""

from __future__ import annotations

import decimal
import gc
import os
import resource
import signal
import threading
from contextvars import ContextVar
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone, translation

from django_jobs import job
from tests.integration.jobs import note, wait_for

kept: list[Any] = []


@job
def open_until_refused() -> int:
    """Open files until the system refuses another one, keep them, and return the process."""
    try:
        while True:
            kept.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return os.getpid()


@job
def open_in_cycles() -> int:
    """Open most of 128 descriptors; only the collector of reference cycles closes them."""
    gc.disable()
    number = 0
    while number < 120:
        cycle: list[Any] = [open(os.devnull)]  # noqa: PTH123
        number = cycle[0].fileno()
        cycle.append(cycle)
    return os.getpid()


@job
def open_a_file_and_a_session() -> int:
    connection.close()
    with open(os.devnull):  # noqa: PTH123
        Group.objects.count()
    return os.getpid()


variable: ContextVar[str] = ContextVar("variable", default="unset")
#: A statement that changes the session, and a query that shows it.
SESSIONS = {
    "postgresql": ("SET statement_timeout = 54321", "SHOW statement_timeout"),
    "mysql": ("SET SESSION lock_wait_timeout = 54321", "SELECT @@lock_wait_timeout"),
    "sqlite": ("PRAGMA cache_size = 4321", "PRAGMA cache_size"),
}


@job
def change_everything() -> None:
    variable.set("set")
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    decimal.getcontext().prec = 3
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS[connection.vendor][0])


@job
def look_around() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS[connection.vendor][1])
        session = cursor.fetchone()[0]
    return [
        variable.get(),
        translation.get_language(),
        timezone.get_current_timezone_name(),
        decimal.getcontext().prec,
        str(signal.getsignal(signal.SIGTERM)),
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        session,
    ]


@job
def close_below_django() -> None:
    connection.ensure_connection()
    connection.connection.close()


@job(atomic=True)
def end_its_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


@job
def tell_a_process_to_stop(parent: bool = False) -> int:
    os.kill(os.getppid() if parent else os.getpid(), signal.SIGTERM)
    return os.getpid()


@job
def leave_a_thread(folder: str) -> int:
    """Leave a thread that holds the interpreter's end up, and one that writes later."""
    threading.Thread(target=wait_for, args=(f"{folder}/never",)).start()
    threading.Thread(target=_write_later, args=(folder,)).start()
    return os.getpid()


def _write_later(folder: str) -> None:
    wait_for(f"{folder}/write")
    try:
        Group.objects.create(name="later")
        note(folder, "written")
    finally:
        connection.close()
