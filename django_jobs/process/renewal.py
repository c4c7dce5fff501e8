"""The heartbeat: one transaction renews the leases of many processes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from ..conf import get_settings
from ..db import clock
from ..db.chunks import chunks
from ..models import Worker


@dataclasses.dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life of one process, for its row."""

    worker_id: UUID
    #: The jobs that it runs, and those that have ended since it was registered.
    busy: int = 0
    jobs_done: int = 0
    memory_bytes: int | None = None
    #: It was told to stop.
    stopping: bool = False
    #: When its interpreter ran last, by :func:`time.monotonic`.
    seen_at: float = 0.0
    #: Its past hour as JSON (:mod:`.samples`); empty: the row keeps what it has.
    samples: str = ""


def renew(signs: Sequence[Sign], using: str) -> tuple[set[UUID], set[UUID]]:
    """Renew the leases, by the database's clock.

    Return the ids whose leases were renewed, and those that have none any more: other workers took
    these processes for dead, or they have signed off. The other ids are those of rows that a
    transaction has locked. This function does not wait for them: the caller tries again.
    """
    renewed: set[UUID] = set()
    over: set[UUID] = set()
    for some in chunks(signs):
        mine, gone = _renew(some, using)
        renewed |= mine
        over |= gone
    return renewed, over


def _renew(signs: Sequence[Sign], using: str) -> tuple[set[UUID], set[UUID]]:
    rows = Worker.objects.using(using).filter(pk__in=[sign.worker_id for sign in signs])
    lasting = rows.filter(lost_at=None, stopped_at=None)
    features = connections[using].features
    with transaction.atomic(using):
        # In the order of their ids: two renewals of the same rows meet each other in no other.
        free = lasting.order_by("pk").select_for_update(
            skip_locked=features.has_select_for_update_skip_locked,
            no_key=features.has_select_for_no_key_update,
        )
        renewed = set(free.values_list("pk", flat=True))
        here = [sign for sign in signs if sign.worker_id in renewed]
        if here:
            rows.filter(pk__in=renewed).update(**_columns(here, using))
    ids = {sign.worker_id for sign in signs}
    if renewed == ids:
        return renewed, set()
    return renewed, ids - renewed - set(lasting.values_list("pk", flat=True))


def _columns(signs: Collection[Sign], using: str) -> dict[str, Any]:
    now = clock(using)
    columns: dict[str, Any] = {
        "heartbeat_at": now,
        "lease_until": clock(using, get_settings().lease_seconds),
        "busy": _each(signs, "busy", models.IntegerField()),
        "jobs_done": _each(signs, "jobs_done", models.BigIntegerField()),
        "memory_bytes": _each(signs, "memory_bytes", models.BigIntegerField()),
    }
    if stopping := [sign.worker_id for sign in signs if sign.stopping]:
        columns["stopping_at"] = Case(
            When(Q(pk__in=stopping), then=Coalesce("stopping_at", now)), default=F("stopping_at")
        )
    if sampled := [sign for sign in signs if sign.samples]:
        field = Worker._meta.get_field("samples")
        whens = (
            When(pk=sign.worker_id, then=Value(json.loads(sign.samples), field)) for sign in sampled
        )
        columns["samples"] = Case(*whens, default=F("samples"))
    return columns


def _each(signs: Collection[Sign], name: str, field: models.Field[Any, Any]) -> Any:
    """Return an expression of each row's own value."""
    values: dict[Any, list[UUID]] = {}
    for sign in signs:
        values.setdefault(getattr(sign, name), []).append(sign.worker_id)
    if len(values) == 1:
        return next(iter(values))
    whens = (When(pk__in=ids, then=Value(value, field)) for value, ids in values.items())
    return Case(*whens, output_field=field)
