"""PGQueuer: coroutines in batches of fifty; it deletes done jobs and keeps a log of them."""

import functools

import psycopg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job

from .. import body
from . import DATABASE_URL, wait


@functools.cache
def driver() -> PsycopgDriver:
    connect = psycopg.AsyncConnection.connect
    return PsycopgDriver(wait(connect(DATABASE_URL, autocommit=True)))


def prepare() -> None:
    wait(Queries(driver()).install())


def send_many(numbers: list[int]) -> None:
    payloads, count = [str(number).encode() for number in numbers], len(numbers)
    wait(Queries(driver()).enqueue(["note"] * count, payloads, [0] * count))


def send(number: int) -> None:
    send_many([number])


def work() -> None:
    worker = PgQueuer(driver())

    @worker.entrypoint("note")
    async def note(job: Job) -> None:
        body.note(int(job.payload or b""))

    wait(worker.run(batch_size=50))
