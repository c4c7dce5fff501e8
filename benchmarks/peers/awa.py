"""awa with its core in Rust: coroutines, twenty at a time in each of two processes."""

import asyncio
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient, Client

from .. import body
from . import DATABASE_URL, wait


@dataclass
class Note:
    number: int


client = Client(DATABASE_URL)


def prepare() -> None:
    client.migrate()


def send(number: int) -> None:
    client.insert(Note(number))


def work() -> None:
    async def run() -> None:
        worker = AsyncClient(DATABASE_URL)

        @worker.task(Note)
        async def note(job: Any) -> None:
            body.note(job.args.number)

        await worker.start([("default", 20)])
        await asyncio.Event().wait()

    wait(run())
