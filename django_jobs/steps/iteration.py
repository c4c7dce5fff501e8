"""A job goes through the rows of a queryset in batches, and keeps the place where it is."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db import Error, transaction
from django.db.models import Model, QuerySet

from ..db import Kind, kind_of
from ..exceptions import Suspended
from ..failure import describe
from ..limits.rules import read_rules
from ..log.step_lines import step_retried
from ..models import Queue
from ..serialization import type_of
from ..status import Status
from .journal import Journal, journal_of
from .recorded import Recorded, State
from .suspension import Suspension

if TYPE_CHECKING:
    from ..define.context import JobContext

_KIND = "iteration"
# The seconds between two looks whether operators pause or limit the job.
_LOOK_SECONDS = 1.0
# An atomic batch whose transaction meets a conflict is tried this many times.
_CONFLICT_TRIES = 8


def iterate(
    context: JobContext, key: str, queryset: QuerySet[Any], batch: int, atomic: bool
) -> Iterator[list[Any]]:
    """Return the batches of *queryset* that no run of the job has gone through, by primary key."""
    _check(queryset, batch)
    journal = journal_of(context, "iterate")
    step = journal.use(key, _KIND, queryset.model._meta.label_lower)
    if step.state == State.DONE:
        return iter(())
    if step.data is None:
        step.data = {"last": None, "done": 0, "total": queryset.count()}
    batches = _Batches(context, journal, step, queryset.order_by("pk"), batch)
    every = batches.atomic() if atomic else batches.plain()
    journal.open.append(weakref.ref(every))
    return every


class _Batches:
    def __init__(
        self, context: JobContext, journal: Journal, step: Recorded, rows: QuerySet[Any], batch: int
    ) -> None:
        self._context, self._journal, self._step = context, journal, step
        self._rows, self._batch = rows, batch
        self._looked_at = -math.inf
        self._leaves = False

    def plain(self) -> Iterator[list[Any]]:
        while rows := self._next():
            yield rows
            self._went_through(rows)
            self._leave_if_held_up()
        self._end()

    def atomic(self) -> Iterator[list[Any]]:
        """Yield each batch inside a transaction, which also keeps the place behind it."""
        while True:
            before = self._step.data
            try:
                with transaction.atomic(self._journal.store.using):
                    rows = self._next()
                    if not rows:
                        break
                    yield rows
                    self._went_through(rows)
            except BaseException:
                # A loop that is left by an exception or by break rolls its batch back.
                self._step.data = before
                if not self._context.request.is_eager:
                    self._journal.left_batch = self._step
                raise
            self._leave_if_held_up()
        self._end()

    def _rest(self) -> QuerySet[Any]:
        data: Any = self._step.data
        return self._rows if data["last"] is None else self._rows.filter(pk__gt=data["last"])

    def _next(self) -> list[Any]:
        found = list(self._rest()[: self._batch])
        if found and not isinstance(found[-1], Model):
            raise TypeError(
                "iterate() takes a queryset of model objects, and this one has rows of type "
                f"{type(found[-1]).__name__}. Leave out values() and values_list(); only() reads "
                "less, too."
            )
        return found

    def _went_through(self, rows: list[Any]) -> None:
        data: Any = self._step.data
        primary_key: Any = self._rows.model._meta.pk
        last, done = primary_key.value_to_string(rows[-1]), data["done"] + len(rows)
        self._step.data = data | {"last": last, "done": done}
        self._step.state, self._step.failure, self._step.tries = State.OPEN, None, 0
        self._journal.write(self._step)
        self._context.progress(done, max(done, data["total"]), self._step.key)

    def _leave_if_held_up(self) -> None:
        """Make the job PENDING again if its queue is paused, or if a rate limit counts its starts.

        It goes on when the queue is resumed, and when the rate lets it start: so a rate limit
        counts batches.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._leaves = not self._context.request.is_eager and self._is_held_up()
        if self._leaves and self._rest().exists():
            self._journal.suspend(Suspension(self._step, status=Status.PENDING))

    def _is_held_up(self) -> bool:
        job, using = self._journal.job, self._journal.store.using
        queues = Queue.objects.using(using)
        if queues.filter(name=job.queue, paused_at__isnull=False).exists():
            return True
        rules = read_rules(using)
        try:
            return any(bound.windows for bound in rules.bounds_of(job))
        except Exception:
            # A key function of the project raised. The job was admitted, so it goes on.
            return False

    def _end(self) -> None:
        data: Any = self._step.data
        self._journal.record(self._step, data["done"])


def repeat_batch(journal: Journal, error: BaseException) -> Suspended | None:
    """Return an exception that repeats the job's atomic batch after *error*; else None.

    A deadlock or a serialization failure has rolled the batch back.
    """
    step = journal.left_batch
    if step is None or step.tries >= _CONFLICT_TRIES - 1:
        return None
    if not isinstance(error, Error) or kind_of(error) is not Kind.CONFLICT:
        return None
    failure = describe(error, journal.secrets())
    step.failed(failure, State.RETRY)
    step_retried(journal.job, step.key, failure, None)
    try:
        journal.suspend(Suspension(step, status=Status.PENDING))
    except Suspended as suspended:
        return suspended


def _check(queryset: object, batch: object) -> None:
    if not isinstance(queryset, QuerySet):
        raise TypeError(
            f"iterate() takes a queryset, got {type_of(queryset)}. Pass Model.objects.all()."
        )
    if queryset.query.is_sliced:
        raise ValueError(
            "iterate() takes a queryset that is not sliced. Filter it, or leave the loop by break."
        )
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        shown = batch if isinstance(batch, int) else type_of(batch)
        raise ValueError(f"iterate(batch=...) must be an integer of at least 1, got {shown}.")
