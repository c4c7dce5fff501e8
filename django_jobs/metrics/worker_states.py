"""Workers that are neither stopped nor lost, as a snapshot has them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Case, Exists, QuerySet, Value, When

from ..conf import get_settings
from ..db import clock
from ..models import Schedule, Worker
from ..models.worker import serves

#: Rows of workers.
WORKERS_READ = 2_000


@dataclasses.dataclass(slots=True)
class WorkerState:
    """The columns of a :class:`Worker` row that a snapshot needs, and what the database says of it.

    The ORM takes three times as long to make a thousand instances of the model.
    """

    pk: UUID
    name: str
    pool: str
    slots: int
    busy: int
    queues: list[str]
    exclude_queues: list[str]
    quiet: bool
    jobs_done: int
    heartbeat_at: datetime.datetime
    #: Its lease runs, by the database's clock.
    is_live: bool
    #: It has sent no heartbeat for three times the ``HEARTBEAT_SECONDS`` setting.
    is_late: bool
    #: Some schedule is enabled: it is read with the workers, to save a statement.
    has_schedules: bool

    def serves(self, queue: str) -> bool:
        """Tell whether it takes jobs of *queue*, unless it is quiet."""
        return serves(self.pool, self.queues, self.exclude_queues, queue)


_COLUMNS = tuple(field.name for field in dataclasses.fields(WorkerState))


def flagged_workers(using: str) -> QuerySet[Worker]:
    """Return the workers that are neither stopped nor lost, with the flags of a state."""
    # Compared with the database's clock: this host's may be wrong.
    lives = When(lost_at=None, lease_until__gte=clock(using), then=Value(True))
    late_after = -3 * get_settings().heartbeat_seconds
    late = When(heartbeat_at__lt=clock(using, late_after), then=Value(True))
    rows = Worker.objects.using(using).filter(stopped_at=None, lost_at=None)
    flags = {
        "is_live": Case(lives, default=Value(False), output_field=BooleanField()),
        "has_schedules": Exists(Schedule.objects.using(using).filter(enabled=True)),
        "is_late": Case(late, default=Value(False), output_field=BooleanField()),
    }
    return rows.annotate(**flags).order_by("hostname", "pid")


def worker_states(rows: QuerySet[Worker]) -> list[WorkerState]:
    """Return the states of *rows*, of :func:`flagged_workers`, at most :data:`WORKERS_READ`."""
    found: Any = rows.values_list(*_COLUMNS)[:WORKERS_READ]
    return [WorkerState(*row) for row in found]
