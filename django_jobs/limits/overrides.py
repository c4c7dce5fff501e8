"""Limits that an operator sets at run time, for job functions and for queues."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q

from ..conf import get_settings
from ..db import clock
from ..define import key_values, registry
from ..define.conversion import json_of
from ..define.option_problems import concurrency_problems, queue_problems
from ..define.rates import Rate, parse
from ..define.routing import database_of, databases
from ..enqueue.notify import Topic, announce
from ..locking import limits_locked, lock_jobs
from ..models import Job, Limit, Queue, Reservation
from ..serialization import type_of
from ..status import Status

if TYPE_CHECKING:
    from ..api.job import JobFunction

# By then all workers have read a new limit; before, a job would get its time by the old one.
_KNOWN_SECONDS = 1.5
_CHUNK = 1_000


class Keep(enum.Enum):
    """The default of arguments whose limit stays as it is."""

    KEEP = "keep"


KEEP = Keep.KEEP


def set_limits(
    name: str,
    *,
    concurrency: int | Keep | None = KEEP,
    rate_limit: Rate | Keep | None = KEEP,
    key: Any = KEEP,
    using: str = "",
) -> None:
    """Set limits of the job function *name* that win over its code's; None is the code's again.

    *key* is what the limit's key option gives for the jobs that are meant, by default all of them;
    for an option that names one parameter its value will do. The limits hold on *using*, or on each
    database that holds jobs. Raises ``UnknownJob``, and
    ``ValueError`` for an impossible limit and for a key that no job can have.
    """
    function = registry.get(name)
    changes = _changes(concurrency, rate_limit)
    base = limit = key_values.of_function(name)
    if key is not KEEP:
        limits = {key_values.of_value(name, _value(function, each, key)) for each in changes}
        if len(limits) > 1:
            raise ValueError(f"{name} has keys of two kinds. Set its limits one at a time.")
        (limit,) = limits
    every = Q(key=base) | Q(key__startswith=f"{base}#")
    for alias in [using] if using else databases():
        rows = Limit.objects.using(alias)
        with transaction.atomic(alias):
            rows.update_or_create(key=limit, defaults=changes)
            rows.filter(key=limit, concurrency=None, rate_limit="").delete()
        _compute_anew(every if key is KEEP else Q(key=limit), alias)


def limits_of(names: Iterable[str], *, using: str = "") -> dict[str, list[tuple[str, Limit]]]:
    """Return what operators set for job functions, each row with the digest of its key's value.

    The row for all jobs of a function has none, and stands first.
    """
    rows = list(Limit.objects.using(using or get_settings().database).order_by("key"))
    found = {}
    for name in names:
        base = key_values.of_function(name)
        parts = [(*row.key[len(base) :].partition("#"), row) for row in rows
                 if row.key.startswith(base)]  # fmt: skip
        found[name] = [(digest, row) for rest, _sign, digest, row in parts if not rest]
    return found


def set_queue_limits(
    name: str,
    *,
    concurrency: int | Keep | None = KEEP,
    rate_limit: Rate | Keep | None = KEEP,
    using: str = "",
) -> None:
    """Set limits of a queue that win over the setting's; None is the setting's again.

    Raises ``ValueError`` for an impossible limit or name.
    """
    for problem in queue_problems(name):
        raise ValueError(problem)
    changes = _changes(concurrency, rate_limit)
    using = using or database_of(name)
    Queue.objects.using(using).update_or_create(name=name, defaults=changes)
    renew_times(name, using)


def renew_times(queue: str, using: str) -> None:
    """Let jobs of *queue* get new start times, because its rate has changed."""
    _compute_anew(Q(key=key_values.of_queue(queue)), using)


def _value(function: JobFunction[..., Any, Any], limit: str, key: Any) -> Any:
    """Return *key* as the key option of *limit* gives it for a job."""
    wanted, name = getattr(function.options, f"{limit}_key"), function.name
    if wanted is None:
        raise ValueError(
            f"{name} has no {limit}_key, so key cannot be given with it. Leave key out."
        )
    types = function.argument_types
    if callable(wanted):
        return key if types is None else json_of(key)
    if len(wanted) == 1 and not (isinstance(key, Mapping) and set(key) == set(wanted)):
        key = {wanted[0]: key}
    if isinstance(key, Mapping) and set(key) == set(wanted):
        found = {each: key[each] for each in wanted}  # in this order, as a digest is kept
        return found if types is None else types.encode_bound(found)
    names = ", ".join(wanted)
    raise ValueError(
        f"{limit}_key of {name} names {names}: key must be a dict of these, got {type_of(key)}."
    )


def _changes(concurrency: int | Keep | None, rate_limit: Rate | Keep | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if not isinstance(concurrency, Keep):
        for problem in [] if concurrency is None else concurrency_problems(concurrency):
            raise ValueError(problem)
        changes["concurrency"] = concurrency
    if not isinstance(rate_limit, Keep):
        parse(rate_limit)
        changes["rate_limit"] = _text(rate_limit)
    if not changes:
        raise ValueError("Give concurrency, rate_limit or both; None is the code's own limit.")
    return changes


def _text(rate: Rate | None) -> str:
    parts = [rate] if isinstance(rate, (str, int, float)) else rate or []
    return ", ".join(str(part) for part in parts)


def _compute_anew(which: Q, using: str) -> None:
    """Let jobs that have start times get new ones, once all workers know the limit."""
    slots = Reservation.objects.using(using).filter(which, started=False)
    last = slots.order_by("-id").values_list("id", flat=True).first()
    while last is not None:
        found = list(slots.filter(id__lte=last).values_list("id", "key", "job_id")[:_CHUNK])
        if not found:
            return
        with limits_locked({key for _id, key, _job in found}, using):
            slots.filter(id__in=[row[0] for row in found])._raw_delete(using)
            jobs = lock_jobs([row[2] for row in found], using, statuses=[Status.SCHEDULED])
            waiting = Job.objects.using(using).filter(id__in=[job.pk for job in jobs])
            waiting.update(run_at=clock(using, _KNOWN_SECONDS))
            announce(using, {Topic.TIMED})
