"""The limits of jobs: from job functions, rows and settings, as one process knows them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from django.db.models import Q

from .. import log
from ..conf import get_settings
from ..define import key_values, registry
from ..define.rates import Window, parse
from ..models import Limit, Queue
from ..serialization import loads
from ..values import Claimed


class Bound(NamedTuple):
    """A limit of one job: running jobs at once (``permits``), and starts in each window."""

    key: str
    permits: int | None
    windows: tuple[Window, ...]


@dataclasses.dataclass(slots=True)
class Rules:
    """The limits of queues by name, and those that operators set, by key."""

    queues: dict[str, Bound] = dataclasses.field(default_factory=dict)
    #: Names of job functions that have limits.
    functions: frozenset[str] = frozenset()
    limits: dict[str, Bound] = dataclasses.field(default_factory=dict)

    def bounds_of(self, job: Claimed) -> list[Bound]:
        """Return the limits of a job. Raises what its key functions raise."""
        found = self._own(job) if job.name in self.functions else []
        queue = self.queues.get(job.queue)
        return found if queue is None else [*found, queue]

    def _own(self, job: Claimed) -> list[Bound]:
        function = registry.find(job.name)
        if function is None:
            return []
        options, base = function.options, key_values.of_function(job.name)
        keyed = options.concurrency_key is not None or options.rate_limit_key is not None
        args, kwargs = (loads(job.args), loads(job.kwargs)) if keyed else ([], {})
        if keyed and function.argument_types is not None:
            args, kwargs = function.argument_types.seen(args, kwargs)
        found: dict[str, Bound] = {}
        for option in ("concurrency_key", "rate_limit_key"):
            key, wanted = base, getattr(options, option)
            if wanted is not None:
                value = key_values.value_of(function, option, wanted, args, kwargs)
                key = key_values.of_value(job.name, value)
            number, windows = self._limit(base, key, options.concurrency, parse(options.rate_limit))
            known = found.get(key, Bound(key, None, ()))
            if option == "concurrency_key":
                found[key] = known._replace(permits=number)
            else:
                found[key] = known._replace(windows=windows)
        return [bound for bound in found.values() if bound.permits or bound.windows]

    def permits(self, key: str, name: str, queue: str) -> tuple[bool, int | None]:
        """Return whether this process knows the limit *key* of such a job, and its permits."""
        if key == key_values.of_queue(queue):
            bound = self.queues.get(queue)
            return True, bound.permits if bound else None
        bound = self.of_key(key, name)
        return bound is not None, bound.permits if bound else None

    def of_key(self, key: str, name: str) -> Bound | None:
        """Return the limit *key* of a job function, or None if this process does not know it."""
        function = registry.find(name)
        if function is None:
            return None
        options, base = function.options, key_values.of_function(name)
        rate = parse(options.rate_limit)
        return Bound(key, *self._limit(base, key, options.concurrency, rate))

    def _limit(
        self, base: str, key: str, number: int | None, windows: tuple[Window, ...]
    ) -> tuple[int | None, tuple[Window, ...]]:
        for name in (base, key):
            if (row := self.limits.get(name)) is not None:
                number, windows = row.permits or number, row.windows or windows
        return number, windows


def read_rules(using: str) -> Rules:
    """Read the limits of rows and settings; the row of a queue wins over the setting."""
    queues = {
        name: Bound(
            key_values.of_queue(name), options.get("CONCURRENCY"), parse(options.get("RATE_LIMIT"))
        )
        for name, options in get_settings().queues.items()
    }
    rows = Queue.objects.using(using).filter(Q(concurrency__gt=0) | ~Q(rate_limit=""))
    for name, number, rate in rows.values_list("name", "concurrency", "rate_limit"):
        key = key_values.of_queue(name)
        known = queues.get(name, Bound(key, None, ()))
        queues[name] = Bound(key, number or known.permits, _windows(key, rate) or known.windows)
    limits = {
        key: Bound(key, number, _windows(key, rate))
        for key, number, rate in Limit.objects.using(using).values_list(
            "key", "concurrency", "rate_limit"
        )
    }
    return Rules(
        {name: bound for name, bound in queues.items() if bound.permits or bound.windows},
        frozenset(
            function.name
            for function in registry.every()
            if function.options.concurrency
            or function.options.rate_limit is not None
            or key_values.of_function(function.name) in limits
        ),
        limits,
    )


def _windows(key: str, rate: str) -> tuple[Window, ...]:
    try:
        return parse(rate)
    except ValueError as error:
        log.limit_unreadable(key, error)
        return ()
