"""dramatiq with Redis: two processes with its default of eight threads, and results in Redis."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from .. import body
from . import REDIS_URL, program

broker = RedisBroker(url=REDIS_URL)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL)))
dramatiq.set_broker(broker)
note = dramatiq.actor(body.note, store_results=True)


def send(number: int) -> None:
    note.send(number)


def work() -> None:
    program("dramatiq", "benchmarks.peers.dramatiq", "--processes", "2", "--threads", "8")
