"""Docket with Redis streams: coroutines, ten at a time in each of two processes."""

import functools

from docket import Docket, Worker

from .. import body
from . import REDIS_URL, wait


async def note(number: int) -> int:
    return body.note(number)


async def opened() -> Docket:
    docket = Docket(name="benchmarks", url=REDIS_URL)
    await docket.__aenter__()
    docket.register(note)
    return docket


@functools.cache
def producer() -> Docket:
    made: Docket = wait(opened())
    return made


def send(number: int) -> None:
    wait(producer().add(note)(number))


def work() -> None:
    async def run() -> None:
        async with Worker(await opened(), concurrency=10) as worker:
            await worker.run_forever()

    wait(run())
