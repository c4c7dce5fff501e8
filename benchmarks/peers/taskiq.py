"""taskiq with a Redis stream and results in Redis: coroutines in two processes."""

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from .. import body
from . import REDIS_URL, program, wait

results = RedisAsyncResultBackend(REDIS_URL)
# From the first message on: those that came before the worker count, too.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0").with_result_backend(results)


@broker.task(task_name="note")
async def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    wait(note.kiq(number))


def work() -> None:
    options = ["--workers", "2", "--log-level", "WARNING"]
    program("taskiq", "worker", "benchmarks.peers.taskiq:broker", *options)
