"""The errors of the package: one class for each cause."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class JobsError(Exception):
    """Base class of the errors that django_jobs raises."""


# --- Defining and enqueuing -------------------------------------------------------------------


class DuplicateJob(JobsError, ImproperlyConfigured):
    """Two job functions were given the same name."""


class NestedJob(RuntimeWarning):
    """A warning: workers may never define the job function, because of where it is defined."""


class FromCelery(UserWarning):
    """A warning: the call has a name or an option of Celery that is not needed here.

    Each name and option warns once in a process.
    """


class UnknownJob(JobsError, LookupError):
    """No job function has that name in this process."""


class ArgumentError(JobsError, ValueError):
    """A value cannot be stored as JSON on every database, or is not a valid id.

    A job fails with it when an argument does not convert to the type of its annotation.
    """


class EncryptionError(JobsError):
    """A value cannot be encrypted or decrypted: a key is missing or wrong, or the package is."""


class QueueFull(JobsError):
    """The new jobs would exceed the queue's ``MAX_PENDING``."""


class DuplicateKey(JobsError):
    """A job with that id exists, or a live job with that unique key."""


# --- Limits. Their base is BaseException: ``except Exception`` in a job must not catch them.


class SoftTimeLimitExceeded(BaseException):
    """The job ran longer than its ``soft_time_limit``. It may clean up until ``time_limit``."""


class TimeLimitExceeded(BaseException):
    """The job ran longer than its ``time_limit`` and was stopped."""


class WorkerStopping(BaseException):
    """The worker stops at once and releases the job, which another worker runs again."""


class TransactionLost(WorkerStopping):
    """The connection was lost before the transaction of an atomic job could commit.

    The database went away, or it closed the session, as with
    ``idle_in_transaction_session_timeout``. Like a crash, it counts towards ``MAX_CRASHES``.
    """


class JobLost(WorkerStopping):
    """The worker has the job no more, so a step records nothing, and the body must not go on.

    The job was revoked, or another worker has it because this one seemed dead.
    """


class Suspended(BaseException):
    """The body ends here, and the job runs again later from this step on.

    ``self.sleep()`` raises it, and a step that is retried. A body must let it pass.
    """

    def __init__(self, suspension: Any) -> None:
        super().__init__("the job is suspended")
        self.suspension = suspension


# --- Steps ------------------------------------------------------------------------------------


class StepError(JobsError):
    """A step was used where none is possible; the message says what to do."""


class StepMismatch(StepError):
    """The code asks for something else under a key than the job has recorded there.

    The job ends as FAILURE with it, also if the body catches it.
    """


# --- Events and approvals ---------------------------------------------------------------------


class EventTimeout(JobsError, TimeoutError):
    """No event, or no decision of a person, came within the *timeout* of the running job."""


class NoOpenQuestion(JobsError):
    """The job asks nothing, or somebody has decided already."""


# --- Results ----------------------------------------------------------------------------------


class JobDoesNotExist(JobsError, LookupError):
    """No row has that id: the job never existed, was rolled back, forgotten or pruned."""


class JobFailed(JobsError):
    """A job failed with an exception that this process cannot rebuild.

    All three attributes are texts: ``error_class`` is the dotted name of its class, ``message`` its
    text, and ``traceback`` the traceback in the worker.
    """

    def __init__(self, error_class: str, message: str = "", traceback: str = "") -> None:
        super().__init__(error_class, message)
        self.error_class = error_class
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.error_class}: {self.message}" if self.message else self.error_class


class JobRevoked(JobsError):
    """The job was revoked, or it expired."""


class JobNotCommitted(JobsError):
    """``get()`` was called inside the transaction that enqueued the job."""


class ResultTimeout(JobsError, TimeoutError):
    """The job did not end within the *timeout* of ``get()``."""


class UpstreamFailed(JobsError):
    """The job did not run, because a job that it depends on failed or was revoked.

    While the row of that other job exists, ``get()`` raises its exception instead.
    """


class WorkerLost(JobsError):
    """The worker process died while it ran the job."""


class RemoteTimeLimitExceeded(TimeLimitExceeded, JobsError):
    """``get()`` raises it when the job ran longer than its ``time_limit`` and was stopped.

    It is an ``Exception``, unlike the error that stops the job itself.
    """


class RemoteSoftTimeLimitExceeded(SoftTimeLimitExceeded, JobsError):
    """``get()`` raises it when the job ended by its ``soft_time_limit``; an ``Exception``, too."""


class WouldDeadlock(RuntimeWarning):
    """A warning: a job waits for another job's result and occupies its own slot meanwhile."""


class TransactionLeftOpen(JobsError):
    """The job function returned with an open transaction, which was rolled back."""


# --- Raised by job functions, to decide what becomes of the job -------------------------------


class Retry(JobsError):
    """The attempt ends and the job runs again; ``self.retry()`` raises it.

    One of ``countdown`` (seconds or a timedelta) and ``eta`` (a datetime) says when. ``expires`` is
    seconds, a timedelta or a datetime. ``exc`` is the cause, if there is one.
    """

    def __init__(
        self,
        message: str = "",
        exc: BaseException | None = None,
        countdown: float | datetime.timedelta | None = None,
        eta: datetime.datetime | None = None,
        expires: float | datetime.timedelta | datetime.datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.exc = exc
        self.countdown = countdown
        self.eta = eta
        self.expires = expires
        #: ``self.retry()`` has checked the limit of retries.
        self.is_counted = False


class MaxRetriesExceededError(JobsError):
    """``self.retry()`` was called without an exception after the last retry."""


class Ignore(JobsError):
    """The job ends as SUCCESS without a result, or with the state of ``update_state()``."""


class Reject(JobsError):
    """The job rejects its arguments: it ends as FAILURE, without a retry.

    With ``requeue=True`` it runs again a second later, which does not count as a retry.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return "" if self.reason is None else str(self.reason)


class Replaced(JobsError):
    """The body ends and the job continues as another canvas; ``self.replace()`` raises it."""

    def __init__(self, graph: Any) -> None:
        super().__init__("the job continues as another canvas")
        self.graph = graph


class Snooze(JobsError):
    """The job runs again after ``seconds``, a number or a timedelta; it is not a retry."""

    def __init__(self, seconds: float | datetime.timedelta) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class BatchError(JobsError):
    """Some calls of a batch fail: *errors* has their exceptions, by the indices of the calls.

    A call that it names ends as if its job had raised that exception, which may also be ``Retry``,
    ``Snooze``, ``Reject`` or ``Ignore``. The other calls succeed. *results* has one result for each
    call, in order; those of failed calls are not used. Without it the results are None.

    Raises ``TypeError`` when *errors* is no dict of exceptions by whole numbers, ``ValueError``
    when it is empty.
    """

    def __init__(
        self, errors: Mapping[int, BaseException], results: Sequence[Any] | None = None
    ) -> None:
        if not isinstance(errors, Mapping):
            raise TypeError(
                "BatchError() takes a dict of exceptions by the indices of the calls, got "
                f"{type(errors).__name__}."
            )
        for index, error in errors.items():
            if isinstance(index, bool) or not isinstance(index, int):
                raise TypeError(
                    "BatchError() takes the indices of the calls as whole numbers, got "
                    f"{type(index).__name__}."
                )
            if not isinstance(error, BaseException):
                raise TypeError(
                    f"BatchError() takes an exception for each index, got {type(error).__name__} "
                    f"for {index}."
                )
        if not errors:
            raise ValueError("BatchError() names no call. If all succeeded, return their results.")
        super().__init__(f"{len(errors)} calls of the batch failed")
        self.errors = dict(errors)
        self.results = results
