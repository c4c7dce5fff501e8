"""mayu in process mode: two processes, with its core in Rust."""

from mayu import App

from .. import body
from . import REDIS_URL, program

app = App(broker=REDIS_URL, result_ttl=600)
note = app.task(body.note)


def send(number: int) -> None:
    note.delay(number)


def work() -> None:
    options = ["--mode", "process", "--processes", "2", "--log-level", "WARNING"]
    program("mayu", "worker", "benchmarks.peers.mayu:app", *options)
