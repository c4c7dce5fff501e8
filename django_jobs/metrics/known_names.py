"""The names of queues and job functions that code, settings or rows have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..conf import get_settings
from ..define import registry
from ..models import Job, Measurement, Queue, Schedule, Worker
from ..status import Status
from ..suggest import did_you_mean, functions_meant, question
from .capped_count import of_status, ready_queues


def queues(using: str) -> set[str]:
    """Return the names of the queues that code, settings, schedules, workers or jobs name."""
    settings = get_settings()
    live: Any = Worker.objects.using(using)
    coded = {function.options.queue for function in registry.every()}
    served = {str(name) for worker in live.live() for name in worker.queues}
    scheduled = Schedule.objects.using(using).values_list("queue", flat=True)
    rows = Queue.objects.using(using).values_list("name", flat=True)
    named = {settings.default_queue, *settings.queues, *_routed(), *coded, *served, *scheduled}
    ran = _measured("queue", using)
    return {name for name in {*named, *rows, *ran, *ready_queues(using)} if name}


def functions(using: str) -> set[str]:
    """Return the names of the job functions of the code, and of those that ran on *using*."""
    return {function.name for function in registry.every()} | _measured("name", using)


def unknown_queues(names: Iterable[str], using: str) -> Iterator[str]:
    """Yield a sentence for each of these queues that nothing names."""
    known = queues(using)
    for name in names:
        if name not in known and not _has_jobs(name, using):
            yield (
                f"Nothing names a queue {name!r}: no job function, route, setting, schedule, "
                f"worker or job.{did_you_mean(name, known)}"
            )


def unknown_function(name: str, using: str) -> str:
    """Return a sentence if no code and no row names the job function, else an empty text."""
    known = functions(using)
    if name in known or Job.objects.using(using).filter(name=name).exists():
        return ""
    hint = question(functions_meant(name, known))
    return f"No job function is named {name!r}, and no job of that name has run.{hint}"


def unknown_limited(name: str, using: str) -> str:
    """Return a sentence if neither a job function nor a queue has the name, or an empty text."""
    known = queues(using) | functions(using)
    if name in known or _has_jobs(name, using):
        return ""
    hint = question(functions_meant(name, known))
    return f"Nothing names a job function or a queue {name!r}: it is taken for a queue.{hint}"


def _has_jobs(queue: str, using: str) -> bool:
    """Return whether the queue has open jobs that are not pending."""
    jobs: Any = Job.objects.using(using)
    return any(
        of_status(jobs.all(), status).filter(queue=queue).exists()
        for status in (Status.SCHEDULED, Status.RETRY, Status.WAITING, Status.STARTED)
    )


def _routed() -> set[str]:
    routes = get_settings().routes or []
    entries = [routes] if isinstance(routes, Mapping) else routes
    globs = [entry for entry in entries if isinstance(entry, Mapping)]
    return {
        str(options["queue"])
        for glob in globs
        for options in glob.values()
        if isinstance(options, Mapping) and options.get("queue")
    }


def _measured(column: str, using: str) -> set[str]:
    rows = Measurement.objects.using(using).filter(seconds=Measurement.TOTAL)
    return set(rows.values_list(column, flat=True).distinct())
