"""Records outcomes even if the database refuses some of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import connections, transaction

from .. import log, transitions
from ..db import clock, is_away
from ..models import Job
from ..values import Outcome
from .outside_body import unrecordable
from .record import record


def record_apart(
    worker_id: UUID,
    outcomes: Sequence[Outcome],
    using: str,
    *,
    on_ready: Callable[[str], object] = lambda queue: None,
) -> list[Outcome]:
    """Record as :func:`record` does, and each outcome alone if they cannot be recorded together.

    A job whose outcome cannot be recorded ends as FAILURE with the reason. Raises only errors that
    say that the database is away.
    """
    if not outcomes:
        return []
    try:
        return _in_savepoint(worker_id, outcomes, using, on_ready)
    except Exception as error:
        if is_away(error):
            raise
        if len(outcomes) == 1:
            failed = unrecordable(outcomes[0], error)
            log.outcome_unrecordable(outcomes[0], failed.failure)
            return _record_refused(worker_id, failed, using, on_ready)
    counted: list[Outcome] = []
    for outcome in outcomes:
        counted += record_apart(worker_id, [outcome], using, on_ready=on_ready)
    return counted


def _record_refused(
    worker_id: UUID, failed: Outcome, using: str, on_ready: Callable[[str], object]
) -> list[Outcome]:
    try:
        return _in_savepoint(worker_id, [failed], using, on_ready)
    except Exception as error:
        if is_away(error):
            raise
        log.outcome_unrecordable(failed, unrecordable(failed, error).failure)
    # The dependents cause the error, so only the row of the job itself ends. An operator's retry of
    # the job lets them go on.
    assert failed.failure is not None
    ours = Job.objects.using(using).filter(
        id=failed.job.id, worker_id=worker_id, claims=failed.job.claims
    )
    error_class, message = failed.failure.error_class, failed.failure.message
    return [failed] if transitions.refuse(ours, error_class, message, clock(using)) else []


def _in_savepoint(
    worker_id: UUID, outcomes: Sequence[Outcome], using: str, on_ready: Callable[[str], object]
) -> list[Outcome]:
    """Record in a savepoint: a refused statement does not break the caller's transaction."""
    inside = connections[using].in_atomic_block
    with transaction.atomic(using) if inside else contextlib.nullcontext():
        return record(worker_id, outcomes, using, on_ready=on_ready)
