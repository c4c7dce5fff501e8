"""The process that enqueues: ``python -m benchmarks.producer SYSTEM OPERATION [ARGUMENT …]``.

It prints what it measured as one line of JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from .clients import Client, client
from .schedules import SCHEDULES

#: The numbers of jobs that only test whether a worker runs.
PROBES = 1 << 40


def probe(queue: Client) -> dict[str, Any]:
    """Enqueue jobs that are not counted."""
    for number in range(PROBES, PROBES + 10):
        queue.send("note", number)
    return {}


def delay(queue: Client, jobs: str) -> dict[str, Any]:
    """Time a loop that enqueues jobs one by one; bare SQL only inserts, and wakes nobody."""
    send: Callable[..., Any] = getattr(queue, "insert", queue.send)
    for number in range(PROBES, PROBES + 10):
        send("note", number)
    began = time.perf_counter()
    for number in range(int(jobs)):
        send("note", number)
    return {"seconds": time.perf_counter() - began}


def delay_many(queue: Client, function: str, jobs: str) -> dict[str, Any]:
    """Time one call that enqueues all jobs."""
    queue.send_many(function, range(PROBES, PROBES + 10))
    began = time.perf_counter()
    queue.send_many(function, range(int(jobs)))
    return {"seconds": time.perf_counter() - began}


def fill(queue: Client, function: str, jobs: str, *arguments: str) -> dict[str, Any]:
    """Enqueue jobs without timing."""
    queue.send_many(function, range(int(jobs)), *map(float, arguments))
    return {}


def load(queue: Client, jobs: str, singles: str) -> dict[str, Any]:
    """Enqueue jobs; time the first ones, which are enqueued one by one."""
    began = time.perf_counter()
    for number in range(int(singles)):
        queue.send("note", number)
    seconds = time.perf_counter() - began
    if more := range(int(singles), int(jobs)):
        queue.send_many("note", more)
    return {"seconds": seconds}


def fan_out(queue: Client, jobs: str) -> dict[str, Any]:
    """Enqueue one job that enqueues all the others."""
    queue.send("fan_out", int(jobs), int(jobs))
    return {}


def paced(queue: Client, schedule: str, amount: str, first: str = "0") -> dict[str, Any]:
    """Enqueue by a schedule; return when each job was sent, in nanoseconds of the wall clock.

    The numbers of the jobs begin with *first*.
    """
    jobs = SCHEDULES[schedule](int(amount))
    sent = []
    began = time.perf_counter()
    for number, job in enumerate(jobs, int(first)):
        time.sleep(max(0.0, began + job.at - time.perf_counter()))
        sent.append(time.time_ns())
        queue.send(job.function, number, *job.arguments)
    return {"sent": sent}


def steady(queue: Client, per_second: str, jobs: str) -> dict[str, Any]:
    """Enqueue this many jobs a second; return when each was sent."""
    sent = []
    began = time.perf_counter()
    for number in range(int(jobs)):
        time.sleep(max(0.0, began + number / int(per_second) - time.perf_counter()))
        sent.append(time.time_ns())
        queue.send("note", number)
    return {"sent": sent}


def events(queue: Client, jobs: str) -> dict[str, Any]:
    """Send each waiting job its event, one every 20 ms; return when each was sent."""
    from django_jobs import send_event
    from django_jobs.models import EventWait

    number = int(jobs)
    queue.send_many("awaits", range(number))
    while EventWait.objects.filter(is_new=False).count() < number:
        time.sleep(0.05)
    sent = []
    began = time.perf_counter()
    for each in range(number):
        time.sleep(max(0.0, began + 0.02 * each - time.perf_counter()))
        sent.append(time.time_ns())
        send_event(f"event {each}")
    return {"sent": sent}


def claims(queue: Client, batches: str, pause: str = "0") -> dict[str, Any]:
    """Time claims of 50 jobs, without ending the claimed jobs; *pause* seconds between them."""
    from django_jobs.db import clock, own_connection
    from django_jobs.models import Worker
    from django_jobs.run.claim import claim

    own_connection("default")
    now, day = clock("default"), clock("default", 86_400)
    worker = Worker.objects.create(
        name="claims", hostname="-", pid=0, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=day,
    )  # fmt: skip
    queue.send_many("note", range(50 * int(batches)))
    at, seconds = [], []
    for _ in range(int(batches)):
        at.append(time.time())
        began = time.perf_counter()
        claim(worker.pk, ["default"], 50, "default")
        seconds.append(time.perf_counter() - began)
        time.sleep(float(pause))
    return {"began": at, "seconds": seconds}


def prune(queue: Client) -> dict[str, Any]:
    """Time the deletion of all jobs whose retention is over, with its rests."""
    del queue
    from django_jobs.ids import uuid7
    from django_jobs.maintenance.prune import Pruner

    pruner = Pruner("default", uuid7())
    at, began = time.time(), time.perf_counter()
    while (rest := pruner.run_once()) is not None:
        time.sleep(rest)
    return {"began": at, "seconds": time.perf_counter() - began}


def round_trip(queue: Client, jobs: str) -> dict[str, Any]:
    """Time each call from enqueuing to its result."""
    seconds = []
    for number in range(-20, int(jobs)):
        began = time.perf_counter()
        queue.get(queue.send("note", number if number >= 0 else PROBES - number))
        seconds.append(time.perf_counter() - began)
    return {"round_trips": seconds[20:]}


def workflow(queue: Client, name: str, size: str, whole: str) -> dict[str, Any]:
    """Time some workflows, or only the calls that enqueue them."""
    return {"seconds": queue.time_workflow(name, int(size), whole=whole == "whole")}


OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    operation.__name__: operation
    for operation in (
        probe,
        delay,
        delay_many,
        fill,
        load,
        fan_out,
        paced,
        steady,
        claims,
        events,
        prune,
        round_trip,
        workflow,
    )
}


if __name__ == "__main__":
    system, operation, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(OPERATIONS[operation](client(system), *arguments)) + "\n")
