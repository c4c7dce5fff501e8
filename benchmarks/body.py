"""The job bodies of all systems."""

import functools
import os
import struct
import time

#: One run of a job: its number and the time of its first line, in nanoseconds of the wall clock.
RECORD = struct.Struct("<QQ")


def note(number: int) -> int:
    """Append 16 bytes, the *number* and the time, to the file of this measurement."""
    now = time.time_ns()
    os.write(_file(os.environ["BENCHMARK_NOTES"]), RECORD.pack(number, now))
    return number


def sleep(number: int, seconds: float) -> int:
    """As :func:`note`, and then take *seconds*."""
    note(number)
    time.sleep(seconds)
    return number


def use_orm(number: int) -> int:
    """As :func:`note`, with one SELECT and one UPDATE through Django's ORM."""
    from .models import Item

    note(number)
    item = Item.objects.get(pk=1 + number % 100)
    item.value += 1
    item.save(update_fields=["value"])
    return number


def same(number: int) -> int:
    """Return the *number*."""
    return number


def count(values: list[int]) -> int:
    """Return how many results there are."""
    return len(values)


@functools.cache
def _file(path: str) -> int:
    # With O_APPEND, a write of 16 bytes is atomic across processes.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
