"""How a caller enqueues with each of the measured systems."""

import importlib
import os
from collections.abc import Iterable
from typing import Any, Protocol

from .workflows import timed


class Client(Protocol):
    """The caller's side of one system, over a connection of its own."""

    def send(self, function: str, *args: Any) -> Any:
        """Enqueue one job, durably, and return the handle on it."""

    def send_many(self, function: str, numbers: Iterable[int]) -> None:
        """Enqueue a job for each number in the quickest way that the system offers."""

    def get(self, handle: Any) -> Any:
        """Wait for the job's result."""

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        """Return the seconds that each of some workflows took; not *whole* times only the call."""


class DjangoJobs:
    def __init__(self) -> None:
        import django

        django.setup()
        self.jobs = importlib.import_module("benchmarks.jobs")

    def send(self, function: str, *args: Any) -> Any:
        return getattr(self.jobs, function).delay(*args)

    def send_many(self, function: str, numbers: Iterable[int]) -> None:
        getattr(self.jobs, function).delay_many([(number,) for number in numbers])

    def get(self, handle: Any) -> Any:
        return handle.get(timeout=60)

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        return timed(importlib.import_module("django_jobs"), self.jobs, name, size, whole=whole)


class Celery:
    def __init__(self) -> None:
        self.app = importlib.import_module("benchmarks.celery_app")

    def send(self, function: str, *args: Any) -> Any:
        return getattr(self.app, function).delay(*args)

    def send_many(self, function: str, numbers: Iterable[int]) -> None:
        task = getattr(self.app, function)
        for number in numbers:
            task.delay(number).forget()

    def get(self, handle: Any) -> Any:
        return handle.get(timeout=60)

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        return timed(importlib.import_module("celery"), self.app, name, size, whole=whole)


def client(system: str) -> Client:
    """Return the client of *system*; DATABASE_URL or REDIS_URL say where its server is."""
    if system == "django_jobs":
        return DjangoJobs()
    if system == "celery":
        return Celery()
    from .bare import limit

    bare: Client = limit(os.environ["DATABASE_URL"])
    return bare
