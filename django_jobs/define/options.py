"""The options of ``@job``, checked when the function is defined."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from django.core.exceptions import ImproperlyConfigured

from .base_problems import base_problems
from .batch_problems import batch_problems
from .context import JobContext
from .key_values import Key
from .option_problems import (
    backoff_problems,
    concurrency_problems,
    encrypt_problems,
    exception_problems,
    expiry_problems,
    is_seconds,
    keep_log_problems,
    max_retries_problems,
    priority_problems,
    queue_problems,
)
from .rates import Rate, parse
from .schedule_spec import Spelling

Exceptions = Sequence[type[BaseException]]
#: The number of retries before, and the exception; returns seconds or a timedelta.
BackoffFunction = Callable[[int, Any], float | datetime.timedelta]
Backoff = bool | float | BackoffFunction
Expiry = float | datetime.timedelta | datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job function's jobs are enqueued, run, retried and kept. Times are in seconds."""

    #: Unique name; by default ``module.function``.
    name: str = ""
    #: Pass the running job, a :class:`~django_jobs.define.context.JobContext`, as first argument.
    bind: bool = False
    #: The class of that context. A subclass can define the hooks ``before_start``,
    #: ``on_success``, ``on_failure``, ``on_retry`` and ``after_return``.
    base: type[JobContext] = JobContext
    #: Queue of the jobs; None is the setting ``DEFAULT_QUEUE``.
    queue: str | None = None
    #: From −32,767 to 32,767; higher numbers run first.
    priority: int = 0
    #: Most retries by ``autoretry_for`` and ``self.retry()``; None is no limit. Other failures
    #: are not retried.
    max_retries: int | None = 3
    #: Wait before a retry by ``self.retry()`` without ``countdown`` and ``eta``.
    default_retry_delay: float = 180.0
    #: Exceptions after which the job is retried automatically.
    autoretry_for: Exceptions = ()
    #: Subclasses of these that are not retried.
    dont_autoretry_for: Exceptions = ()
    #: First wait before an automatic retry; each further wait is twice as long. True is 2 s, and
    #: False waits ``default_retry_delay`` each time. A function of (retries, exception) returns the
    #: wait before each retry, in seconds or as a timedelta; *retries* is 0 before the first.
    retry_backoff: Backoff = True
    #: Longest wait before an automatic retry, unless a function says how long.
    retry_backoff_max: float = 600.0
    #: Choose each wait at random between half of it and all of it: against thundering herds.
    retry_jitter: bool = True
    #: Stop the process that runs the job after this time (prefork), or cancel it (asyncio).
    time_limit: float | None = None
    #: Raise ``SoftTimeLimitExceeded`` in the job after this time.
    soft_time_limit: float | None = None
    #: Store no result.
    ignore_result: bool = False
    #: False: run at most once. A job whose worker died ends as FAILURE ``WorkerLost``.
    acks_late: bool = True
    #: ``"fail"`` is the same as ``acks_late=False``.
    on_worker_lost: Literal["retry", "fail"] = "retry"
    #: Revoke the job if it has not begun by then: seconds, a timedelta or a datetime.
    expires: Expiry | None = None
    #: Expected exceptions: the job fails, and the log has a line at INFO without a traceback.
    throws: Exceptions = ()
    #: Check at the enqueue that the arguments fit the signature.
    typing: bool = True
    #: Names of arguments whose values are never shown.
    sensitive: Sequence[str] = ()
    #: Store the arguments, the result and the progress encrypted; names: only these arguments, and
    #: the result and the progress. Needs the setting ``ENCRYPTION_KEYS``.
    encrypt: bool | Sequence[str] = False
    #: The job's writes and its SUCCESS commit in one transaction.
    atomic: bool = False
    #: While a job with the same key is live, enqueuing returns that job (``True``, ``"reject"``),
    #: raises ``DuplicateKey`` (``"raise"``), or gives it the new arguments if it has not begun
    #: (``"replace"``).
    unique: bool | Literal["reject", "raise", "replace"] = False
    #: After a success, hold the key until this many seconds after the enqueue.
    unique_for: float | None = None
    #: The key: a function of the arguments, or names of parameters; by default all arguments.
    unique_key: Callable[..., object] | Sequence[str] | None = None
    #: Most jobs of the function that run at once, over all workers.
    concurrency: int | None = None
    #: Each value of this key has its own limit: a function of the arguments that the job gets, or
    #: names of parameters; by default all jobs of the function share one.
    concurrency_key: Key | None = None
    #: Most jobs of the function that start in any window of that length, over all workers:
    #: ``"10/s"`` (``s``, ``m``, ``h``, ``d``), a number a second, or a list of several limits.
    rate_limit: Rate | None = None
    #: Each value of this key has its own ``rate_limit``, as with ``concurrency_key``.
    rate_limit_key: Key | None = None
    #: How long the row of an ended job is kept: seconds, None for ever, or ``"default"`` for the
    #: settings ``RESULT_EXPIRES`` and ``FAILURE_EXPIRES``.
    result_expires: float | Literal["default"] | None = "default"
    #: Keep the last lines that each attempt logs at INFO or above, and show them in the admin: so
    #: many lines, from 1 to 1,000. True is 200 lines, False is none.
    keep_log: bool | int = False
    #: When beat enqueues it: ``crontab(hour=3, minute=0)``, seconds, a timedelta, or a dict as in
    #: ``DJANGO_JOBS["SCHEDULES"]``, which can have arguments.
    schedule: Spelling | Mapping[str, Any] | None = None
    #: Give the function up to so many calls at once, from 1 to 1,000, as a list of
    #: :class:`~django_jobs.define.batch.Call`. None calls it once for each job.
    batch_size: int | None = None
    #: A call waits at most this long in a worker for others, from 0 to 60; None is 1 second.
    batch_seconds: float | None = None
    #: A function or a class with the parameters of one call of a batch. Without it a call takes
    #: any arguments.
    call_signature: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ImproperlyConfigured(problem)
        for field in ("autoretry_for", "dont_autoretry_for", "throws"):
            if isinstance(getattr(self, field), type):
                object.__setattr__(self, field, (getattr(self, field),))
        if self.on_worker_lost == "fail":
            object.__setattr__(self, "acks_late", False)
        if self.unique_for is not None and not self.unique:
            object.__setattr__(self, "unique", True)

    def _problems(self) -> list[str]:
        found: list[str] = []
        if len(self.name) > 255:
            found.append(f"name must have at most 255 characters, got {len(self.name)}.")
        if self.queue is not None:
            found += queue_problems(self.queue)
        found += priority_problems(self.priority)
        found += self._retry_problems()
        for field in ("time_limit", "soft_time_limit", "unique_for"):
            value = getattr(self, field)
            if value is not None and (not is_seconds(value) or value <= 0):
                found.append(
                    f"{field} must be seconds > 0 or None, a century at most, got {value!r}."
                )
        found += expiry_problems(self.expires)
        if self.time_limit and self.soft_time_limit and self.soft_time_limit >= self.time_limit:
            found.append(
                f"soft_time_limit ({self.soft_time_limit}) must be shorter than time_limit "
                f"({self.time_limit})."
            )
        for field in ("sensitive", "unique_key", "concurrency_key", "rate_limit_key"):
            if isinstance(getattr(self, field), str):
                found.append(f"{field} must be a list of names, got {getattr(self, field)!r}.")
        found += self._limit_problems()
        if self.unique not in (True, False, "reject", "raise", "replace"):
            found.append(
                f"unique must be True, False, 'reject', 'raise' or 'replace', got {self.unique!r}."
            )
        if self.on_worker_lost not in ("retry", "fail"):
            found.append(f"on_worker_lost must be 'retry' or 'fail', got {self.on_worker_lost!r}.")
        found += keep_log_problems(self.keep_log) + encrypt_problems(self.encrypt)
        found += base_problems(self.base, JobOptions.__dataclass_fields__) or batch_problems(self)
        if self.result_expires not in (None, "default") and not is_seconds(self.result_expires):
            found.append(
                "result_expires must be seconds or None, a century at most, "
                f"got {self.result_expires!r}."
            )
        return found

    def _retry_problems(self) -> list[str]:
        found = [
            f"{field} must be seconds ≥ 0, a century at most, got {getattr(self, field)!r}"
            for field in ("default_retry_delay", "retry_backoff_max")
            if not is_seconds(getattr(self, field))
        ]
        found += max_retries_problems(self.max_retries)
        found += backoff_problems(self.retry_backoff)
        for field in ("autoretry_for", "dont_autoretry_for", "throws"):
            found += exception_problems(field, getattr(self, field))
        return found

    def _limit_problems(self) -> list[str]:
        found: list[str] = []
        if self.concurrency is not None:
            found += concurrency_problems(self.concurrency)
        try:
            windows = parse(self.rate_limit)
        except ValueError as error:
            return [*found, str(error)]
        if self.rate_limit is not None and not windows:
            found.append("rate_limit must not be empty; None is no limit.")
        for limit in ("concurrency", "rate_limit"):
            if getattr(self, f"{limit}_key") is not None and getattr(self, limit) is None:
                found.append(f"{limit}_key says what {limit} counts. Give {limit} too.")
        return found


class JobKeywords(TypedDict, total=False):
    """The options as ``@job`` takes them; :class:`JobOptions` describes each."""

    name: str
    base: type[JobContext]
    queue: str | None
    priority: int
    max_retries: int | None
    default_retry_delay: float
    autoretry_for: Exceptions
    dont_autoretry_for: Exceptions
    retry_backoff: Backoff
    retry_backoff_max: float
    retry_jitter: bool
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool
    acks_late: bool
    on_worker_lost: Literal["retry", "fail"]
    expires: Expiry | None
    throws: Exceptions
    typing: bool
    sensitive: Sequence[str]
    encrypt: bool | Sequence[str]
    atomic: bool
    unique: bool | Literal["reject", "raise", "replace"]
    unique_for: float | None
    unique_key: Callable[..., Any] | Sequence[str] | None
    concurrency: int | None
    concurrency_key: Callable[..., Any] | Sequence[str] | None
    rate_limit: Rate | None
    rate_limit_key: Callable[..., Any] | Sequence[str] | None
    result_expires: float | Literal["default"] | None
    keep_log: bool | int
    schedule: Spelling | Mapping[str, Any] | None
