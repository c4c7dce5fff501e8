"""SAQ with Redis: coroutines, ten at a time in each of two processes."""

from saq import Queue, Worker
from saq.types import Context

from .. import body
from . import REDIS_URL, wait

queue = Queue.from_url(REDIS_URL)


async def note(context: Context, *, number: int) -> int:
    del context
    return body.note(number)


def send(number: int) -> None:
    wait(queue.enqueue("note", number=number))


def work() -> None:
    wait(Worker(queue, functions=[note], concurrency=10).start())
