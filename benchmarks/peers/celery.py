"""Celery with its defaults: two prefork processes, results in Redis."""

from ..celery_app import note
from . import program


def send(number: int) -> None:
    note.delay(number)


def work() -> None:
    program("celery", "-A", "benchmarks.celery_app", "worker", "-c", "2", "-l", "WARNING")
