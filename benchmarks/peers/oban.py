"""Oban for Python: coroutines, twenty at a time in each of two processes; it keeps done jobs."""

import functools

from oban import Oban, job

from .. import body
from . import DATABASE_URL, program, wait


@job(queue="default")
async def note(number: int) -> None:
    body.note(number)


@functools.cache
def producer() -> Oban:
    async def make() -> Oban:
        return Oban(pool=await Oban.create_pool(DATABASE_URL))

    made: Oban = wait(make())
    return made


def prepare() -> None:
    program("oban", "install", "--dsn", DATABASE_URL)


def send(number: int) -> None:
    wait(producer().enqueue(note.new(number)))


def send_many(numbers: list[int]) -> None:
    wait(producer().enqueue_many([note.new(number) for number in numbers]))


def work() -> None:
    options = ["--queues", "default:20", "--log-level", "WARNING"]
    program("oban", "start", "--dsn", DATABASE_URL, *options, "--cron-modules", __name__)
