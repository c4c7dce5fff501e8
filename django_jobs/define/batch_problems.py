"""Checks the options of batches, and that the others fit them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from .context import JobContext
from .option_problems import is_seconds

if TYPE_CHECKING:
    from .options import JobOptions

#: The most calls of a batch: one statement claims so many jobs, and one records them.
MOST_CALLS = 1_000
#: The longest that a call may wait for others, in seconds.
LONGEST_WAIT = 60.0


def batch_problems(options: JobOptions) -> list[str]:
    """Return what is wrong with the options of a batch, a sentence for each."""
    if options.batch_size is None:
        return [
            f"{name} is about batches. Give batch_size too."
            for name in ("batch_seconds", "call_signature")
            if getattr(options, name) is not None
        ]
    return [*_value_problems(options), *_misfits(options)]


def _value_problems(options: JobOptions) -> list[str]:
    found = []
    size, seconds = options.batch_size, options.batch_seconds
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_CALLS:
        found.append(
            f"batch_size must be a whole number from 1 to {MOST_CALLS:,} or None, got {size!r}."
        )
    if seconds is not None and (not is_seconds(seconds) or seconds > LONGEST_WAIT):
        found.append(f"batch_seconds must be seconds from 0 to {LONGEST_WAIT:g}, got {seconds!r}.")
    if options.call_signature is not None and not _has_signature(options.call_signature):
        found.append(
            "call_signature must be a function or a class with the parameters of a call, got "
            f"{options.call_signature!r}."
        )
    return found


def _misfits(options: JobOptions) -> list[str]:
    found = []
    if options.bind:
        found.append(
            "bind=True passes the running job, and a batch runs several. Leave bind out: each call "
            "has its id, headers and retries."
        )
    if options.keep_log:
        found.append(
            "keep_log keeps the lines of one job, and those of a batch belong to several. Give the "
            "function keep_log=False."
        )
    wraps = any(
        getattr(options.base, name, None) is not getattr(JobContext, name)
        for name in ("__call__", "run")
    )
    if wraps:
        found.append(
            f"base {options.base!r} wraps the body of one job, and a batch runs several. Use a "
            "base with hooks only, or wrap the function itself."
        )
    return found


def _has_signature(thing: object) -> bool:
    try:
        inspect.signature(thing)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return callable(thing)
