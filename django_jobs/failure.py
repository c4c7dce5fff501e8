"""Turns an exception into texts that every database can store, bounded and without secrets."""

from __future__ import annotations

import concurrent.futures._base
import re
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import asgiref.sync

from .define.sensitive import redact
from .exceptions import ArgumentError
from .redaction import NO_SECRETS, Secrets
from .serialization import dumps, loads
from .values import Failure

MAX_TRACEBACK = 16 * 1024
MAX_MESSAGE = 4 * 1024
#: Of a longer traceback the innermost frames are kept.
MOST_FRAMES = 100
_ARGUMENTS = "exception arguments"
# Characters that could control an operator's terminal or reorder a line.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# PostgreSQL quotes the beginning of each value. A part of a secret could not be found and blanked.
_NO_ROW = r"\1(not shown)"
_ROW = re.compile(r"(Failing row contains )\(.*?(?=\n\n|\Z)", re.DOTALL)
# The files whose frames stand above the body's in every traceback. They say nothing about the job.
_HERE = Path(__file__).parent
_ABOVE_THE_BODY = (
    str(_HERE / "run"),
    str(_HERE / "steps"),
    str(_HERE / "define" / "context.py"),
    str(_HERE / "define" / "durable.py"),
    str(_HERE / "define" / "step_function.py"),
    str(_HERE / "define" / "conversion.py"),
    asgiref.sync.__file__,
    concurrent.futures._base.__file__,
)


def describe(error: BaseException, secrets: Secrets) -> Failure:
    """Return *error* as a :class:`~django_jobs.values.Failure`, with the *secrets* blanked."""
    kind = type(error)
    whole = _traceback(error)
    text = _storable(secrets.blanked(_ROW.sub(_NO_ROW, whole)))
    return Failure(
        error_class=f"{kind.__module__}.{kind.__qualname__}"[:255],
        message=shown_message(error, secrets),
        traceback=_cut(text, MAX_TRACEBACK),
        args=_arguments_of(error, secrets),
        # Secrets that are too short to be found in texts are values of local variables, too.
        is_secret=secrets is not NO_SECRETS or _ROW.search(whole) is not None,
    )


def shown_message(error: BaseException, secrets: Secrets) -> str:
    """Return the error's text, bounded, with the *secrets* blanked."""
    return _cut(_storable(secrets.blanked(message_of(error))), MAX_MESSAGE)


def message_of(error: BaseException) -> str:
    """Return the error's text, without the values of a row that a database refused."""
    try:
        return _ROW.sub(_NO_ROW, str(error))
    except BaseException as broken:  # project code runs here
        return f"(its __str__ raised {type(broken).__name__})"


def _traceback(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    try:
        lines = traceback.TracebackException(
            type(error), error, body_traceback(error), limit=-MOST_FRAMES
        ).format()
        return "".join(lines)
    except BaseException as broken:
        return f"(formatting the traceback raised {type(broken).__name__})"


def body_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback of *error* without the frames above the job's body."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and _is_above_the_body(frames):
        frames = frames.tb_next
    return frames


def _is_above_the_body(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_ABOVE_THE_BODY)


def _arguments_of(error: BaseException, secrets: Secrets) -> str | None:
    try:
        return _arguments(error, secrets)
    except BaseException:
        return None


def _arguments(error: BaseException, secrets: Secrets) -> str | None:
    """Return the JSON text from which :mod:`django_jobs.define.rebuilt_errors` makes *error* again.

    It is the list of its ``args``, or a dict of ``args`` and ``attributes`` if it has attributes;
    None if JSON cannot hold them.
    """
    args: list[Any] = list(error.args)
    if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
        # Python keeps the file names apart from args.
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
    return _text_of(secrets.blanked_value(loads(text)))


def _text_of(value: Any) -> str | None:
    try:
        return dumps(value, where=_ARGUMENTS, max_bytes=MAX_MESSAGE)
    except (ArgumentError, RecursionError):
        return None


def printable(text: object) -> str:
    """Return *text* with control characters escaped; tabs and line ends stay."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text))


def shown_line(text: str, secrets: Secrets, size: int) -> str:
    """Return a line of a log for rows and terminals, bounded, with the *secrets* blanked."""
    return _cut(_storable(printable(secrets.blanked(_ROW.sub(_NO_ROW, text)))), size)


def one_line(name: str) -> str:
    """Return a row's name, which may hold any character, as one line."""
    return name if name.isprintable() else printable(name).replace("\n", "\\n")


def _storable(text: str) -> str:
    """Return *text* with the characters escaped that some databases refuse."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    # Keep both ends of a traceback: the outer calls, and the error itself.
    return f"{text[: size // 4]}\n… {len(text) - size:,} characters cut …\n{text[-3 * size // 4 :]}"
