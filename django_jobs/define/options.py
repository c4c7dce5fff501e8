"""The options of ``@job``, checked when the function is defined."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from django.core.exceptions import ImproperlyConfigured

from ..moments import FIRST_YEAR, LAST_YEAR, LONGEST_SECONDS
from ..suggest import closest
from .context import JobContext
from .from_celery import OPTIONS
from .key_values import Key
from .rates import Rate, parse
from .schedule_spec import Spelling

#: What a smallint holds; a higher number runs first.
MAX_PRIORITY = 32_767

Exceptions = Sequence[type[BaseException]]
Expiry = float | datetime.timedelta | datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job function's jobs are enqueued, run, retried and kept. Times are in seconds."""

    #: Unique name; by default the module's and the function's.
    name: str = ""
    #: Pass the running job, a :class:`~django_jobs.define.context.JobContext`, as first argument.
    bind: bool = False
    #: Class of what ``bind`` passes, for its hooks ``before_start``, ``on_success``,
    #: ``on_failure``, ``on_retry`` and ``after_return``.
    base: type[JobContext] = JobContext
    #: Queue of the jobs; None is the setting ``DEFAULT_QUEUE``.
    queue: str | None = None
    #: −32,767 … 32,767; the higher runs first.
    priority: int = 0
    #: Most retries that ``autoretry_for`` and ``self.retry()`` make; None is without end. Without
    #: one of these a failure is final.
    max_retries: int | None = 3
    #: Wait before a retry by ``self.retry()`` that names none.
    default_retry_delay: float = 180.0
    #: Exceptions after which the job is retried by itself.
    autoretry_for: Exceptions = ()
    #: Exceptions among those that are not retried after all.
    dont_autoretry_for: Exceptions = ()
    #: First wait of an automatic retry, doubled each time: True is 2 s, a number is its own first
    #: wait, False is ``default_retry_delay`` each time.
    retry_backoff: bool | float = True
    #: Longest wait of an automatic retry.
    retry_backoff_max: float = 600.0
    #: Make half of the wait random, so that failed jobs do not come back together.
    retry_jitter: bool = True
    #: Stop the process that runs the job after this time (prefork), or cancel it (asyncio).
    time_limit: float | None = None
    #: Raise ``SoftTimeLimitExceeded`` in the job after this time.
    soft_time_limit: float | None = None
    #: Store no result.
    ignore_result: bool = False
    #: False: a job whose worker died is not run again (at most once); it is FAILURE ``WorkerLost``.
    acks_late: bool = True
    #: ``"fail"`` is another spelling of ``acks_late=False``.
    on_worker_lost: Literal["retry", "fail"] = "retry"
    #: A job that has not begun by then is revoked instead: seconds, timedelta or datetime.
    expires: Expiry | None = None
    #: Exceptions that are an answer, not a defect: logged at INFO, without traceback.
    throws: Exceptions = ()
    #: Bind the arguments to the signature when the job is enqueued.
    typing: bool = True
    #: Names of arguments whose values are never shown.
    sensitive: Sequence[str] = ()
    #: The body and SUCCESS commit in one transaction: the job's writes happen exactly once.
    atomic: bool = False
    #: No second live copy: ``True`` or ``"reject"`` returns the live one, ``"raise"`` raises
    #: ``DuplicateKey``, ``"replace"`` gives the new arguments to one that has not begun.
    unique: bool | Literal["reject", "raise", "replace"] = False
    #: After a success the key stays taken until this many seconds after the enqueue.
    unique_for: float | None = None
    #: What makes two calls the same: a function of the arguments, or names of parameters; by
    #: default all arguments.
    unique_key: Callable[..., object] | Sequence[str] | None = None
    #: At most so many of these jobs run at once, over all workers.
    concurrency: int | None = None
    #: What has its own ``concurrency``: a function of the arguments as the job gets them, or names
    #: of parameters; by default all jobs of the function share it.
    concurrency_key: Key | None = None
    #: At most so many of these jobs start in any window of that length, over all workers:
    #: ``"10/s"`` (``s``, ``m``, ``h``, ``d``), a number a second, or a list that all must hold.
    rate_limit: Rate | None = None
    #: What has its own ``rate_limit``, as ``concurrency_key``.
    rate_limit_key: Key | None = None
    #: How long an ended job is kept; ``None`` for ever, ``"default"`` as the settings say.
    result_expires: float | Literal["default"] | None = "default"
    #: Run it by itself: ``crontab(hour=3, minute=0)``, seconds, a timedelta, or a dict as in
    #: ``DJANGO_JOBS["SCHEDULES"]``, which can have arguments, too.
    schedule: Spelling | Mapping[str, Any] | None = None

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
            if value is not None and (not _is_seconds(value) or value <= 0):
                found.append(
                    f"{field} must be seconds > 0 or None, a century at most, got {value!r}."
                )
        found += _expiry_problems(self.expires)
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
        if not (isinstance(self.base, type) and issubclass(self.base, JobContext)):
            found.append(f"base must be a subclass of JobContext, got {self.base!r}.")
        else:
            found += _base_problems(self.base)
        if self.result_expires not in (None, "default") and not _is_seconds(self.result_expires):
            found.append(
                "result_expires must be seconds or None, a century at most, "
                f"got {self.result_expires!r}."
            )
        return found

    def _retry_problems(self) -> list[str]:
        found = [
            f"{field} must be seconds ≥ 0, a century at most, got {getattr(self, field)!r}"
            for field in ("default_retry_delay", "retry_backoff_max")
            if not _is_seconds(getattr(self, field))
        ]
        if self.max_retries is not None and (
            not isinstance(self.max_retries, int) or self.max_retries < 0
        ):
            found.append(
                f"max_retries must be a whole number ≥ 0 or None, got {self.max_retries!r}."
            )
        if not isinstance(self.retry_backoff, bool) and (
            not _is_seconds(self.retry_backoff) or self.retry_backoff <= 0
        ):
            found.append(
                "retry_backoff must be a bool or seconds > 0, a century at most, "
                f"got {self.retry_backoff!r}."
            )
        for field in ("autoretry_for", "dont_autoretry_for", "throws"):
            found += _exception_problems(field, getattr(self, field))
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


def unknown_options(given: Iterable[str], known: Collection[str]) -> str:
    """Say which options are not *known* and what may be meant; empty when all are."""
    told = []
    for name in sorted(set(given) - set(known)):
        near = closest(name, known, 1)
        if name in OPTIONS:
            told.append(f"{name} ({OPTIONS[name]})")
        else:
            told.append(f"{name} (did you mean {near[0]}=?)" if near else name)
    return f"Unknown option {', '.join(told)}. Allowed: {', '.join(known)}." if told else ""


def concurrency_problems(number: object) -> list[str]:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        return [f"concurrency must be a whole number ≥ 1 or None, got {number!r}."]
    return []


def queue_problems(queue: object) -> list[str]:
    if not isinstance(queue, str) or not 0 < len(queue) <= 100 or not queue.isprintable():
        return [f"queue must be a printable text of 1 to 100 characters, got {queue!r}."]
    if queue.strip() != queue:
        return [f"queue must not begin or end with blanks, got {queue!r}."]
    if "," in queue:
        return [f"queue must not have a comma, which separates names in --queues, got {queue!r}."]
    if queue[0] in "@!#":
        return [f"queue must not begin with @, ! or #, which are kept for workers, got {queue!r}."]
    return []


def priority_problems(priority: object) -> list[str]:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        return [f"priority must be a whole number from -32767 to 32767, got {priority!r}."]
    return []


def _is_seconds(value: object) -> bool:
    """Tell whether *value* is a number of seconds that every database can add to its clock."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= LONGEST_SECONDS  # type: ignore[operator]


def _expiry_problems(expires: object) -> list[str]:
    if isinstance(expires, datetime.datetime):
        fits = FIRST_YEAR <= expires.year <= LAST_YEAR
    elif isinstance(expires, datetime.timedelta):
        fits = abs(expires.total_seconds()) <= LONGEST_SECONDS
    else:
        fits = expires is None or _is_seconds(expires)
    if fits:
        return []
    allowed = (
        f"a timedelta (a century at most), a datetime in the years {FIRST_YEAR} to {LAST_YEAR}"
    )
    return [f"expires must be seconds or {allowed}, or None, got {expires!r}."]


def _base_problems(base: type[JobContext]) -> list[str]:
    """Say what a base class sets that belongs elsewhere; it would have no effect."""
    own = {name for each in base.__mro__ for name in vars(each) if issubclass(each, JobContext)
           and each is not JobContext}  # fmt: skip
    found = [
        f"base {base.__qualname__} sets {name}: options belong to @job; a base has the hooks "
        "before_start, on_success, on_failure, on_retry and after_return, and __call__"
        for name in sorted(own & (JobOptions.__dataclass_fields__.keys() | {"retry_kwargs"}))
    ]
    found += [
        f"base {base.__qualname__} defines {name}(), which is never called: the job function has "
        "it. Put what each call needs into a function of your own that calls it"
        for name in sorted(own & {"apply_async", "delay", "apply", "run"})
    ]
    return found


def _exception_problems(field: str, value: object) -> list[str]:
    kinds = value if isinstance(value, (list, tuple)) else [value]
    return [
        f"{field} must hold exception classes, got {kind!r}."
        for kind in kinds
        if not (isinstance(kind, type) and issubclass(kind, BaseException))
    ]


class JobKeywords(TypedDict, total=False):
    """The options as ``@job`` takes them; :class:`JobOptions` tells what each means."""

    name: str
    base: type[JobContext]
    queue: str | None
    priority: int
    max_retries: int | None
    default_retry_delay: float
    autoretry_for: Exceptions
    dont_autoretry_for: Exceptions
    retry_backoff: bool | float
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
    atomic: bool
    unique: bool | Literal["reject", "raise", "replace"]
    unique_for: float | None
    unique_key: Callable[..., Any] | Sequence[str] | None
    concurrency: int | None
    concurrency_key: Callable[..., Any] | Sequence[str] | None
    rate_limit: Rate | None
    rate_limit_key: Callable[..., Any] | Sequence[str] | None
    result_expires: float | Literal["default"] | None
    schedule: Spelling | Mapping[str, Any] | None
