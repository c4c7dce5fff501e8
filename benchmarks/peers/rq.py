"""RQ with its default worker, which forks for each job."""

import redis
from rq import Queue

from .. import body
from . import REDIS_URL, program

queue = Queue(connection=redis.Redis.from_url(REDIS_URL))


def send(number: int) -> None:
    queue.enqueue(body.note, number)


def send_many(numbers: list[int]) -> None:
    queue.enqueue_many([Queue.prepare_data(body.note, (number,)) for number in numbers])


def work() -> None:
    program("rq", "worker", "--url", REDIS_URL, "--quiet")
