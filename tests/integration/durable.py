"""Jobs of steps, whose process is killed at a chosen point."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from django.contrib.auth.models import Group

from django_jobs import JobContext, job

STEPS = ("charge", "reserve", "ship")


def points() -> Iterator[str]:
    """Yield the points at which the process may be killed."""
    for name in STEPS:
        yield from (f"before {name}", f"in {name}", f"at the end of {name}", f"after {name}")
    yield from ("before the child", "after the child")
    yield from ("after the sleep", "after the first batch", "in the second batch", "at the end")


def killed_at(folder: str, here: str, point: str) -> None:
    """Kill this process at the *point* of the job, once."""
    mark = Path(folder, f"killed {point}")
    if here == point and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def effect(folder: str, name: str, point: str) -> str:
    """Note what is done, and write a row."""
    killed_at(folder, f"in {name}", point)
    with Path(folder, point).open("a") as notes:
        notes.write(f"{name}\n")
    Group.objects.create(name=f"{point}: {name} {os.urandom(8).hex()}")
    killed_at(folder, f"at the end of {name}", point)
    return name


@job(atomic=True)
def pack(point: str) -> None:
    Group.objects.create(name=f"{point}: packed {os.urandom(8).hex()}")


@job(bind=True)
def sell(self: JobContext, folder: str, point: str) -> list[str]:
    """Do three steps, a child, a sleep and a loop; the second step and the loop are atomic."""
    found = []
    for name in STEPS:
        killed_at(folder, f"before {name}", point)
        found.append(self.step(name, effect, folder, name, point, atomic=name == "reserve"))
        killed_at(folder, f"after {name}", point)
    killed_at(folder, "before the child", point)
    self.run(pack.s(point))
    killed_at(folder, "after the child", point)
    self.sleep(0)
    killed_at(folder, "after the sleep", point)
    # Without the rows that the loop itself writes.
    rows = Group.objects.filter(name__startswith=f"row of {point}.").exclude(name__contains="done")
    for batch in self.iterate("rows", rows, batch=2, atomic=True):
        is_second = batch[0].name.endswith("2")
        if is_second:
            killed_at(folder, "after the first batch", point)
        Group.objects.bulk_create(
            Group(name=f"{row.name} done {os.urandom(8).hex()}") for row in batch
        )
        if is_second:
            killed_at(folder, "in the second batch", point)
    killed_at(folder, "at the end", point)
    return found


def add(a: int, b: int) -> int:
    return a + b


async def add_async(a: int, b: int) -> int:
    return a + b


@job(bind=True)
def count(self: JobContext, awaits: bool = True) -> int:
    found = self.step("one", add, 1, 0)
    found = self.step("two", add, found, 1, atomic=True)
    self.sleep(0)
    for _rows in self.iterate("rows", Group.objects.all(), batch=1, atomic=True):
        pass
    last = self.run(one.s().set(queue=self.request.queue))
    if awaits:
        return self.step("last", add_async, found, last)
    return self.step("last", add, found, last)


@job(bind=True)
async def count_async(self: JobContext) -> int:
    found = await self.astep("one", add_async, 1, 0)
    found = await self.astep("two", add, found, 1, atomic=True)
    await self.asleep(0)
    async for _rows in self.aiterate("rows", Group.objects.all(), batch=1):
        pass
    return await self.astep("last", add, found, await self.arun(one.s()))


@job
def one() -> int:
    return 1
