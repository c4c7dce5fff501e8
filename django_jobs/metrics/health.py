"""Whether jobs are run: one look at a database, and what follows from it.

The command ``jobs health`` and the view ``health/ready`` share it. A look takes at most eight short
statements, whatever the size of the tables.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from django.db import Error, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext_noop

from ..db import clock, unix_time
from ..db.chunks import chunks
from ..models import Job, Queue, Schedule, Worker
from .capped_count import ready_queues
from .open_jobs import oldest_ready
from .worker_states import WORKERS_READ

#: The parts that are checked, in this order.
PARTS = (
    gettext_noop("database"),
    gettext_noop("migrations"),
    gettext_noop("workers"),
    gettext_noop("jobs"),
    gettext_noop("beat"),
)
#: The longest wait of a ready job, in seconds, if neither the caller nor its queue names one.
MAX_AGE_SECONDS = 300.0
#: A schedule that is later than these seconds is overdue.
MAX_LAG_SECONDS = 60.0
#: Queues with ready jobs whose oldest job is looked for.
QUEUES_READ = 5_000


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """The state of one part. *ok* is None when the database did not answer.

    *text* is a template for *values*, marked for translation.
    """

    part: str
    ok: bool | None
    text: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class State:
    """The findings of one look at a database."""

    using: str
    #: The database's error, if it did not answer.
    error: str = ""
    #: Migrations of this app that are not applied.
    unapplied: list[str] = dataclasses.field(default_factory=list)
    #: The error of a statement that the database refused.
    refused: str = ""
    #: The live processes, beats too.
    workers: list[Worker] = dataclasses.field(default_factory=list)
    #: For how many seconds the oldest ready job has waited, by queue, without paused queues.
    waits: dict[str, float] = dataclasses.field(default_factory=dict)
    paused: set[str] = dataclasses.field(default_factory=set)
    #: The longest wait that operators want, in seconds, by queue.
    targets: dict[str, float] = dataclasses.field(default_factory=dict)
    has_schedules: bool = False
    #: By how many seconds the most overdue schedule is late.
    lag: float = 0.0


def look(using: str) -> State:
    """Look at the database *using*. An error of the database is part of the answer."""
    state = State(using)
    try:
        now = unix_time(using)
    except Error as error:
        state.error = _line(error)
        return state
    try:
        state.unapplied = _unapplied(using)
        if not state.unapplied:
            _look_at_rows(state, now)
    except Error as error:
        state.refused = _line(error)
    return state


def checks(state: State, queue: str = "", max_age: float | None = None) -> list[Check]:
    """Return a check for each of :data:`PARTS`.

    With *queue* the workers and the jobs are those of that queue. *max_age* is the longest
    acceptable wait of a ready job, in seconds; None: that of its queue, or
    :data:`MAX_AGE_SECONDS`.
    """
    if state.error:
        failed = Check("database", False, gettext_noop("it does not answer: %(error)s"),
                       {"error": state.error})  # fmt: skip
        return [failed, *_unknown(PARTS[1:], gettext_noop("the database does not answer"))]
    answers = Check("database", True, gettext_noop("it answers"))
    if state.refused:
        text = gettext_noop("the database refused a statement: %(error)s")
        return [answers, *_unknown(PARTS[1:], text, {"error": state.refused})]
    if state.unapplied:
        text = gettext_noop("not applied: %(names)s. Run `manage.py migrate`.")
        names = {"names": ", ".join(state.unapplied)}
        rest = _unknown(PARTS[2:], gettext_noop("migrations are missing"))
        return [answers, Check("migrations", False, text, names), *rest]
    return [
        answers,
        Check("migrations", True, gettext_noop("all are applied")),
        _of_workers(state, queue),
        _of_jobs(state, queue, max_age),
        _of_beat(state),
    ]


def all_ok(found: Iterable[Check]) -> bool:
    return all(check.ok for check in found)


# --- the look -----------------------------------------------------------------------------------


def _unapplied(using: str) -> list[str]:
    """Return this app's migrations that are not applied, without importing them."""
    label = Job._meta.app_label
    package, _explicit = MigrationLoader.migrations_module(label)
    if package is None:  # MIGRATION_MODULES switches them off
        return []
    found = pkgutil.iter_modules(import_module(package).__path__)
    names = {module.name for module in found if module.name[0] not in "_~"}
    recorder = MigrationRecorder(connections[using])
    try:
        rows = set(recorder.migration_qs.filter(app=label).values_list("name", flat=True))
    except Error:
        if recorder.has_table():
            raise
        rows = set()
    return sorted(names - rows)


def _look_at_rows(state: State, now: float) -> None:
    using = state.using
    live: Any = Worker.objects.using(using)
    columns = ("pool", "slots", "queues", "exclude_queues", "quiet")
    state.workers = list(live.live().only(*columns)[:WORKERS_READ])
    ready = ready_queues(using)[:QUEUES_READ]
    rows = Queue.objects.using(using).values_list("name", "paused_at", "target_seconds")
    found = (row for chunk in chunks(ready) for row in rows.filter(name__in=chunk))
    for name, paused_at, target in found:
        if paused_at is not None:
            state.paused.add(name)
        if target is not None:
            state.targets[name] = target
    oldest = oldest_ready(using, (name for name in ready if name not in state.paused))
    state.waits = {name: max(0.0, now - at.timestamp()) for name, at in oldest.items()}
    enabled = Schedule.objects.using(using).filter(enabled=True)
    planned = enabled.filter(next_run_at__isnull=False).order_by("next_run_at")
    times = planned.values_list("next_run_at", clock(using)).first()
    state.has_schedules = times is not None or enabled.exists()
    if times is not None:
        state.lag = max(0.0, (times[1] - times[0]).total_seconds())


# --- the judgement ------------------------------------------------------------------------------


def _of_workers(state: State, queue: str) -> Check:
    live = [one for one in state.workers if one.pool != Worker.BEAT]
    serving = [one for one in live if not queue or one.serves(queue)]
    taking = [one for one in serving if not one.quiet]
    values: dict[str, Any] = {
        "processes": len(taking),
        "slots": sum(one.slots for one in taking),
        "queue": queue,
    }
    text = gettext_noop("no process is alive")
    if taking and queue:
        text = gettext_noop("processes that serve queue %(queue)r: %(processes)d, slots: %(slots)d")
    elif taking:
        text = gettext_noop("processes alive: %(processes)d, slots: %(slots)d")
    elif serving:
        text = gettext_noop("all live processes are quiet")
    elif live:
        text = gettext_noop("no live process serves queue %(queue)r")
    return Check("workers", bool(taking), text, values)


def _of_jobs(state: State, queue: str, max_age: float | None) -> Check:
    if queue in state.paused:
        return Check("jobs", True, gettext_noop("queue %(queue)r is paused"), {"queue": queue})
    waits = [(name, wait) for name, wait in state.waits.items() if queue in ("", name)]
    if not waits:
        return Check("jobs", True, gettext_noop("no job is ready"))
    limits = {
        name: max_age if max_age is not None else state.targets.get(name, MAX_AGE_SECONDS)
        for name, _wait in waits
    }
    # The one that is furthest beyond its limit, or nearest to it.
    name, wait = max(waits, key=lambda each: each[1] - limits[each[0]])
    values = {"queue": name, "seconds": round(wait, 3), "limit": limits[name]}
    if wait > limits[name]:
        text = gettext_noop(
            "the oldest ready job of queue %(queue)r has waited %(seconds)d s, longer than "
            "%(limit)g s"
        )
        return Check("jobs", False, text, values)
    text = gettext_noop("the oldest ready job of queue %(queue)r has waited %(seconds)d s")
    return Check("jobs", True, text, values)


def _of_beat(state: State) -> Check:
    beats = sum(one.pool == Worker.BEAT for one in state.workers)
    values = {"beats": beats, "lag": round(state.lag, 3)}
    if not state.has_schedules:
        return Check("beat", True, gettext_noop("no schedule is enabled"), values)
    if not beats:
        return Check("beat", False, gettext_noop("no beat runs: schedules do not fire"), values)
    if state.lag > MAX_LAG_SECONDS:
        return Check("beat", False, gettext_noop("a schedule is %(lag)d s late"), values)
    return Check("beat", True, gettext_noop("live beats: %(beats)d; no schedule is late"), values)


def _unknown(
    parts: Iterable[str], text: str, values: Mapping[str, Any] | None = None
) -> Iterator[Check]:
    return (Check(part, None, text, values or {}) for part in parts)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
