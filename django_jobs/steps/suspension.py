"""The rows of steps that the end of a run writes, in the transaction that records it."""

from __future__ import annotations

import dataclasses
import datetime

from django.db.models import Subquery

from ..models import Job, Step
from ..status import Status
from ..values import Outcome
from .columns import saved
from .recorded import Recorded


@dataclasses.dataclass(slots=True)
class Written:
    """A step that failed: its row has the error."""

    step: Recorded

    def write(self, outcome: Outcome, using: str) -> set[str]:
        """Write the row, after the job's own; return the queues that have new pending jobs."""
        saved(outcome.job, self.step, using)
        return set()


@dataclasses.dataclass(slots=True)
class Suspension(Written):
    """Why the job's run ended before its body did, and when it goes on.

    The job becomes *status*: SCHEDULED after *delay* (seconds) or at *run_at*, PENDING to run again
    as soon as a worker takes it, or WAITING until something else makes it PENDING.
    """

    status: Status = Status.SCHEDULED
    delay: float | None = None
    run_at: datetime.datetime | None = None

    def write(self, outcome: Outcome, using: str) -> set[str]:
        saved(outcome.job, self.step, using)
        job = Job.objects.using(using).filter(id=outcome.job.id)
        if self.status == Status.SCHEDULED:
            # The job's own moment, so that the step is over whenever the job is due.
            moment = Subquery(job.values("run_at"))
            steps = Step.objects.using(using).filter(job_id=outcome.job.id, key=self.step.key)
            steps.update(wake_at=moment)
        if outcome.job.expires_at is not None:
            # It says how late the job may begin, and it has begun.
            job.update(expires_at=None)
        return set()
