"""BlitzQ in its reliable mode (Redis Streams), with coroutines."""

from blitzq import Queue

from .. import body
from . import REDIS_URL, program, wait

queue = Queue(name="default", redis_url=REDIS_URL)


@queue.task
async def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    wait(note.enqueue(number))


def send_many(numbers: list[int]) -> None:
    for start in range(0, len(numbers), 1_000):
        wait(note.enqueue_many([(number,) for number in numbers[start : start + 1_000]]))


def work() -> None:
    program("blitzq", "worker", "benchmarks.peers.blitzq:queue", "--log-level", "WARNING")
