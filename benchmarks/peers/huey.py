"""huey with Redis: two processes; a crash loses the jobs that run."""

from huey import RedisHuey

from .. import body
from . import REDIS_URL, program

huey = RedisHuey("benchmarks", url=REDIS_URL)
note = huey.task()(body.note)


def send(number: int) -> None:
    note(number)


def work() -> None:
    program("huey_consumer", "benchmarks.peers.huey.huey", "-k", "process", "-w", "2", "-q")
