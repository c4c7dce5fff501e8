"""Operations of people on the steps of a job: forget them, end its sleep."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..db import clock
from ..models import Step

State = Step.State


def forget(job_id: UUID, using: str, *, position: int = 0) -> int:
    """Forget the steps of a job from *position* on; return how many."""
    steps = Step.objects.using(using).filter(job_id=job_id, position__gte=position)
    return steps._raw_delete(using)


def position_of(job_id: UUID, key: str, using: str) -> int | None:
    """Return the position of the step under *key*, or None if the job has none."""
    steps = Step.objects.using(using).filter(job_id=job_id, key=key)
    return steps.values_list("position", flat=True).first()


def try_anew(job_id: UUID, using: str) -> None:
    """Give the steps of a job that wait for a retry all their retries again."""
    Step.objects.using(using).filter(job_id=job_id, state=State.RETRY).update(tries=0)


def end_sleeps(ids: Sequence[UUID], using: str) -> None:
    """End the sleep of jobs that run before their time."""
    asleep = Step.objects.using(using).filter(
        job_id__in=ids, kind=Step.Kind.SLEEP, state=State.WAITING
    )
    asleep.update(wake_at=clock(using))
