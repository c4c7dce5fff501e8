"""Every error of the package: one class per cause."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class JobsError(Exception):
    """Base class of the errors that django_jobs raises."""


# --- Defining and enqueuing -------------------------------------------------------------------


class DuplicateJob(JobsError, ImproperlyConfigured):
    """Two job functions were given the same name."""


class NestedJob(RuntimeWarning):
    """A job function is defined where a worker may never define it."""


class UnknownJob(JobsError, LookupError):
    """No job function of that name is registered."""


class ArgumentError(JobsError, ValueError):
    """An argument or a result cannot be stored as JSON on every database."""


class QueueFull(JobsError):
    """The queue holds as many pending jobs as its ``MAX_PENDING`` allows."""


class DuplicateKey(JobsError):
    """A job with that id, or a live one with that unique key, exists already."""


# --- Limits. They are no Exception, so that ``except Exception`` in a job does not swallow them.


class SoftTimeLimitExceeded(BaseException):
    """The job ran longer than its ``soft_time_limit``; it may still tidy up until the hard one."""


class TimeLimitExceeded(BaseException):
    """The job ran longer than its ``time_limit`` and was stopped."""


class WorkerStopping(BaseException):
    """The worker stops at once and gives the job back; never the job's own fault."""


class TransactionLost(WorkerStopping):
    """The connection was gone when the transaction of an atomic job was to end.

    The database was away, or the job itself lost the connection, as with
    ``idle_in_transaction_session_timeout``: it runs again as often as after a crash.
    """


# --- Results ----------------------------------------------------------------------------------


class JobDoesNotExist(JobsError, LookupError):
    """No job has that id: it never existed, was rolled back, forgotten or pruned."""


class JobFailed(JobsError):
    """A job failed with an exception that this process cannot rebuild.

    ``error_class`` is its dotted class name, ``message`` its text and ``traceback`` the text of
    the traceback in the worker.
    """

    def __init__(self, error_class: str, message: str = "", traceback: str = "") -> None:
        super().__init__(error_class, message)
        self.error_class = error_class
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.error_class}: {self.message}" if self.message else self.error_class


class JobRevoked(JobsError):
    """The job was revoked, or expired, before it could end."""


class JobNotCommitted(JobsError):
    """You wait for a job inside the transaction that enqueued it: no worker can see it yet."""


class ResultTimeout(JobsError, TimeoutError):
    """The job had not ended when the time to wait for it was over."""


class UpstreamFailed(JobsError):
    """The job did not run: one that it depends on in its workflow failed or was revoked.

    ``get()`` raises that one's own exception instead, as long as its row is there.
    """


class WorkerLost(JobsError):
    """The worker process died while it ran the job."""


class RemoteTimeLimitExceeded(TimeLimitExceeded, JobsError):
    """A job that you wait for ran longer than its ``time_limit`` and was stopped.

    ``get()`` raises it. It is an ``Exception``, unlike the one that ends the job itself.
    """


class RemoteSoftTimeLimitExceeded(SoftTimeLimitExceeded, JobsError):
    """A job that you wait for ended by its ``soft_time_limit``; an ``Exception``, as above."""


class WouldDeadlock(RuntimeWarning):
    """A job waits for another job's result and keeps its own slot meanwhile."""


class TransactionLeftOpen(JobsError):
    """The job function returned with a database transaction still open; it was rolled back."""


# --- What a job function raises to steer its own life -----------------------------------------


class Retry(JobsError):
    """The attempt ends here and the job runs again; raised by ``self.retry()``.

    ``countdown`` is in seconds or a timedelta, and ``eta`` a datetime; one of them is given.
    ``expires`` is any of these.
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
        #: ``self.retry()`` has looked at the limit of retries already.
        self.is_counted = False


class MaxRetriesExceededError(JobsError):
    """``self.retry()`` was called with no exception once too often."""


class Ignore(JobsError):
    """The job ends as SUCCESS and stores no result, or keeps the ended state it gave itself."""


class Reject(JobsError):
    """The job refuses its arguments: FAILURE without a retry, or back to its queue.

    With ``requeue=True`` it runs again a second later and no retry is counted.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return "" if self.reason is None else str(self.reason)


class Replaced(JobsError):
    """The body ends here and the job goes on as something else; raised by ``self.replace()``."""

    def __init__(self, graph: Any) -> None:
        super().__init__("the job goes on as another one")
        self.graph = graph


class Snooze(JobsError):
    """The job is not ready yet: it runs again later and no retry is counted.

    ``seconds`` is a number or a timedelta.
    """

    def __init__(self, seconds: float | datetime.timedelta) -> None:
        super().__init__(seconds)
        self.seconds = seconds
