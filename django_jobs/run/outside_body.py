"""The outcomes that no body decides: of jobs that cannot run here, have expired or were lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..backoff import deferral
from ..conf import get_settings
from ..define import registry
from ..define.current import running
from ..define.retention import keep_seconds
from ..define.sensitive import Call, secrets_of
from ..exceptions import UnknownJob, WorkerLost, WorkerStopping
from ..failure import describe
from ..redaction import NO_SECRETS, Secrets
from ..status import Status
from ..values import Claimed, Failure, Outcome

if TYPE_CHECKING:
    from ..api.job import JobFunction

# Workers that cannot run a job give it back this many times, 1, 2, 4 … 60 s apart, before it fails.
# That is 5 minutes, the time of a rolling deploy.
MAX_DEFERRALS = 10


def unrunnable(job: Claimed, error: BaseException) -> Outcome:
    """Return the failure of a job whose arguments or options cannot be used."""
    outcome = plain(job, Status.FAILURE, registry.find(job.name))
    outcome.failure, outcome.value = describe(error, hidden(job)), error
    return outcome


def escaped(job: Claimed, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that raised *error* outside its body, as in ``base=``."""
    function = registry.find(job.name)
    if isinstance(error, WorkerStopping) and (function is None or function.options.acks_late):
        return plain(job, Status.PENDING, function)
    return unrunnable(job, error)


def expired(job: Claimed) -> Outcome:
    """Return the outcome of a job that expired before it began."""
    outcome = plain(job, Status.REVOKED, registry.find(job.name))
    outcome.failure = Failure("", f"expired at {job.expires_at}")
    return outcome


def not_here(job: Claimed, error: Exception) -> Outcome:
    """Return the outcome of a job that this worker cannot run, because of *error*.

    For some minutes the job waits for a worker that can run it, and its row shows *error*. Then it
    fails with *error*.
    """
    if job.deferrals < MAX_DEFERRALS:
        outcome = postponed(job)
    else:
        outcome = plain(job, Status.FAILURE, registry.find(job.name))
        outcome.deferrals = job.deferrals
    # All arguments of an unknown function are secret. If one equals its name, the name would be
    # blanked.
    secrets = NO_SECRETS if isinstance(error, UnknownJob) else hidden(job)
    outcome.failure, outcome.value = describe(error, secrets), error
    return outcome


def postponed(job: Claimed) -> Outcome:
    """Return the outcome of a job that waits for another worker, longer each time."""
    outcome = plain(job, Status.SCHEDULED, None)
    outcome.deferrals = job.deferrals + 1
    outcome.delay = deferral(job.deferrals)
    return outcome


def unrecordable(outcome: Outcome, error: BaseException) -> Outcome:
    """Return the outcome of a job whose own outcome the database refuses to store."""
    failed = plain(outcome.job, Status.FAILURE, registry.find(outcome.job.name))
    failed.failure, failed.value = describe(error, hidden(outcome.job)), error
    failed.execution, failed.variables = outcome.execution, outcome.variables
    failed.log = outcome.log
    return failed


def crashed(job: Claimed) -> Outcome:
    """Return the outcome of a job whose process died while it ran.

    Crashes do not count as retries. The job runs again until it has had ``MAX_CRASHES`` crashes;
    with ``acks_late=False`` it fails at once.
    """
    function = registry.find(job.name)
    settings = get_settings()
    outcome = plain(job, Status.FAILURE, function)
    outcome.crashes += 1
    again = outcome.crashes < settings.max_crashes
    if again and (function is None or function.options.acks_late):
        outcome.status, outcome.keep_seconds = Status.PENDING.value, None
    error = WorkerLost(
        f"Its worker process died while it ran, {outcome.crashes} of {settings.max_crashes} times."
    )
    outcome.failure, outcome.value = describe(error, NO_SECRETS), error
    return outcome


def hidden(job: Claimed, result: Any = None, calls: Sequence[Call] = ()) -> Secrets:
    """Return the secrets that no text about the job, its *result* or other *calls* may show."""
    context = running.get()
    if context is not None and context.claimed is job and context.batch_secrets is not None:
        return context.batch_secrets(result)
    # From the claimed texts, because the body may have changed its arguments.
    return secrets_of(job, has_taken=not job.problem, result=result, calls=calls)


def plain(job: Claimed, status: Status, function: JobFunction[..., Any, Any] | None) -> Outcome:
    """Return the outcome with which a job gets *status*, as its row has it otherwise."""
    now, keep = time.monotonic(), keep_seconds(function, status)
    return Outcome(job, status.value, now, now, None, job.retries, job.crashes, 0, keep)
