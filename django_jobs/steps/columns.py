"""The columns of a step's row."""

from __future__ import annotations

import time
from typing import Any

from ..db import clock
from ..models import Step
from ..serialization import loads
from ..values import Claimed
from .recorded import Recorded


def ages(step: Recorded) -> tuple[float | None, float | None]:
    """Return the seconds since it began, and since it ended if it did."""
    now = time.monotonic()
    began = None if step.began is None else now - step.began
    return began, None if step.ended is None else now - step.ended


def saved(job: Claimed, step: Recorded, using: str) -> None:
    """Write a step's row, a new one or again; the transaction has checked the fencing token."""
    began, ended = ages(step)
    failure = step.failure
    columns: dict[str, Any] = {
        "state": step.state,
        "result": None if step.text is None else loads(step.text),
        "data": step.data,
        "tries": step.tries,
        "claims": job.claims,
        "ended_at": None if ended is None else clock(using, -ended),
        "wake_at": None,
        "error_class": failure.error_class if failure else "",
        "error_message": failure.message if failure else "",
        "traceback": failure.traceback if failure else "",
    }
    if began is not None:
        columns["began_at"] = clock(using, -began)
    rows = Step.objects.using(using)
    # A transaction of the body may have taken the row back.
    if not step.has_row or not rows.filter(job_id=job.id, key=step.key).update(**columns):
        columns |= {"key": step.key, "position": step.position, "kind": step.kind}
        rows.bulk_create([Step(job_id=job.id, function=step.function, **columns)])
        step.has_row = True
