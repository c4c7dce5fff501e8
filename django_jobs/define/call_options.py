"""The options of one call, and their checks."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from uuid import UUID

from ..from_celery.options import without_effect
from ..moments import LONGEST_SECONDS, range_problems
from ..serialization import type_of
from .canvas import Canvas, callbacks
from .option_problems import (
    backoff_problems,
    max_retries_problems,
    priority_problems,
    queue_problems,
    unknown_options,
)
from .options import Expiry


class CallKeywords(TypedDict, total=False):
    """The options of one call. They override the job function's. Times are in seconds."""

    #: Run this many seconds from now, by the database's clock, or later.
    countdown: float | None
    #: Run at this time or later; a naive datetime is in the current time zone.
    eta: datetime.datetime | None
    #: Revoke the job if it has not begun by then: seconds, a timedelta or a datetime.
    expires: Expiry | None
    queue: str | None
    #: From −32,767 to 32,767; higher numbers run first.
    priority: int | None
    #: A dict of JSON that the job gets as ``self.request.headers``.
    headers: Mapping[str, Any] | None
    #: Id of the job; by default a new UUID version 7. Raises ``DuplicateKey`` when it exists.
    task_id: UUID | str | None
    #: Write the job outside the caller's transaction, so that a rollback does not undo it.
    durable: bool
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    #: The largest number of retries; None is the job function's limit.
    max_retries: int | None
    #: The waits before automatic retries; as in ``@job``, but no function.
    retry_backoff: bool | float | None
    #: Signatures to run after a success, with the result.
    link: Canvas | Sequence[Canvas] | None
    #: Signatures to run after a failure, with a dict that describes it.
    link_error: Canvas | Sequence[Canvas] | None


def check(options: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for an unknown option and ``ValueError`` for an invalid value.

    Options of Celery's that change nothing here are left alone, with a warning for each.
    """
    if not options.keys() <= CallKeywords.__annotations__.keys():
        given = options.keys() - without_effect(options)
        if unknown := unknown_options(given, CallKeywords.__annotations__):
            raise TypeError(unknown)
    problems: list[str] = []
    if options.get("queue") is not None:
        problems += queue_problems(options["queue"])
    if options.get("priority") is not None:
        problems += priority_problems(options["priority"])
    if options.get("countdown") is not None:
        problems += _seconds_problems("countdown", options["countdown"], -LONGEST_SECONDS)
    for key in ("time_limit", "soft_time_limit"):
        if options.get(key) is not None:
            problems += _seconds_problems(key, options[key], 0.001)
    for key in ("ignore_result", "durable"):
        # A text such as "no" would be true.
        if options.get(key) is not None and not isinstance(options[key], bool):
            problems.append(f"{key} must be True or False, got {options[key]!r}.")
    if options.get("max_retries") is not None:
        problems += max_retries_problems(options["max_retries"])
    if options.get("retry_backoff") is not None:
        problems += _backoff_problems(options["retry_backoff"])
    problems += _headers_problems(options.get("headers"))
    problems += _id_problems(options.get("task_id"))
    if problems:
        raise ValueError(" ".join(problems))
    for key in ("link", "link_error"):
        callbacks(options, key)


def _headers_problems(headers: object) -> list[str]:
    if headers is None or isinstance(headers, Mapping):
        return []
    # The message shows only the type, because headers may be secret.
    return [f"headers must be a dict of JSON, got {type_of(headers)}."]


def _backoff_problems(backoff: object) -> list[str]:
    if callable(backoff):
        why = "retry_backoff of a call must be True, False or seconds > 0, got a function, which no"
        return [f"{why} row can hold. Give it to @job."]
    return backoff_problems(backoff)


def _id_problems(task_id: object) -> list[str]:
    if not task_id or isinstance(task_id, UUID):
        return []
    try:
        UUID(str(task_id))
    except ValueError:
        text = f"task_id must be a UUID or its text, got {task_id!r:.100}."
        return [f"{text} For a key of your own use unique_key= of @job, or headers=."]
    return []


def _seconds_problems(key: str, value: object, least: float) -> list[str]:
    # JSON would turn a Decimal or a timedelta into a text, as in an errback.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return range_problems(key, value, least)
    return [f"{key} must be seconds, got {value!r}."]
