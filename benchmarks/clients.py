"""The producers' clients of the measured systems."""

import importlib
import os
from collections.abc import Iterable
from typing import Any, Protocol

from .workflows import timed


class Client(Protocol):
    """The client of one system, with its own connection."""

    def send(self, function: str, *args: Any) -> Any:
        """Enqueue one durable job and return its handle."""

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        """Enqueue a job per number, in the fastest way of the system; *arguments* follow it."""

    def get(self, handle: Any) -> Any:
        """Wait for the job's result."""

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        """Return the seconds of each workflow; without *whole*, only those of the call."""


class DjangoJobs:
    def __init__(self) -> None:
        import django

        django.setup()
        self.jobs = importlib.import_module("benchmarks.jobs")

    def send(self, function: str, *args: Any) -> Any:
        return getattr(self.jobs, function).delay(*args)

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        getattr(self.jobs, function).delay_many([(number, *arguments) for number in numbers])

    def get(self, handle: Any) -> Any:
        return handle.get(timeout=60)

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        return timed(importlib.import_module("django_jobs"), self.jobs, name, size, whole=whole)


class Celery:
    def __init__(self) -> None:
        self.app = importlib.import_module("benchmarks.celery_app")

    def send(self, function: str, *args: Any) -> Any:
        return getattr(self.app, function).delay(*args)

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        task = getattr(self.app, function)
        for number in numbers:
            task.delay(number, *arguments).forget()

    def get(self, handle: Any) -> Any:
        return handle.get(timeout=60)

    def time_workflow(self, name: str, size: int, *, whole: bool) -> list[float]:
        return timed(importlib.import_module("celery"), self.app, name, size, whole=whole)


def client(system: str) -> Client:
    """Return the client of *system*; DATABASE_URL or REDIS_URL is the address of its server."""
    if system == "django_jobs":
        return DjangoJobs()
    if system == "celery":
        return Celery()
    if system == "bare":
        from .bare import limit

        bare: Client = limit(os.environ["DATABASE_URL"])
        return bare
    peers: Any = importlib.import_module("benchmarks.peers")
    peer: Client = peers.Client(system)
    return peer
