"""An exception as text: bounded, storable on every database, and without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

from .exceptions import ArgumentError
from .redaction import redact, redact_text, redact_values
from .serialization import dumps, loads
from .values import Failure

MAX_TRACEBACK = 16 * 1024
MAX_MESSAGE = 4 * 1024
_ARGUMENTS = "exception arguments"
# The frames between the worker's loop and the body, which say nothing about the job.
_OWN_FILES = ("django_jobs/execute.py", "django_jobs/limits.py", "asgiref/sync.py")


def describe(error: BaseException, secrets: Iterable[str]) -> Failure:
    """Return *error* as a :class:`~django_jobs.values.Failure`, with each of *secrets* blanked."""
    secrets = list(secrets)
    kind = type(error)
    message = _storable(redact_text(_message(error), secrets))
    text = _storable(redact_text(_traceback(error), secrets))
    return Failure(
        error_class=f"{kind.__module__}.{kind.__qualname__}"[:255],
        message=_cut(message, MAX_MESSAGE),
        traceback=_cut(text, MAX_TRACEBACK),
        args=_arguments(error, secrets),
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its __str__ raised {type(broken).__name__})"


def _traceback(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    frames = error.__traceback__
    while frames.tb_next is not None and frames.tb_frame.f_code.co_filename.endswith(_OWN_FILES):
        frames = frames.tb_next
    try:
        lines = traceback.TracebackException(type(error), error, frames, limit=-100).format()
        return "".join(lines)
    except Exception as broken:
        return f"(formatting the traceback raised {type(broken).__name__})"


def _arguments(error: BaseException, secrets: list[str]) -> str | None:
    """Return as JSON what :mod:`django_jobs.rebuild` makes the exception of, or None.

    That is the list of its ``args``, or ``args`` and ``attributes`` where it has any.
    """
    args: list[Any] = list(error.args)
    if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
        # Python keeps the name of the file apart.
        args += [error.filename, *([None, error.filename2] if error.filename2 else [])]
    attributes = {
        name: value
        for name, value in vars(error).items()
        if not name.startswith("_") and _text_of(value) is not None
    }
    stored = {"args": args, "attributes": redact(attributes)} if attributes else args
    text = _text_of(stored) or _text_of(args)
    if text is None or not secrets:
        return text
    return _text_of(redact_values(loads(text), secrets))


def _text_of(value: Any) -> str | None:
    try:
        return dumps(value, where=_ARGUMENTS, max_bytes=MAX_MESSAGE)
    except (ArgumentError, RecursionError):
        return None


def _storable(text: str) -> str:
    """Return *text* with the characters escaped that a database refuses."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    # The end of a traceback tells what happened, its start where it began.
    return f"{text[: size // 4]}\n… {len(text) - size:,} characters cut …\n{text[-3 * size // 4 :]}"
