"""Exceptions as log handlers may have them: without the secrets of the job that raised them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, TracebackType

from ..define.sensitive import secrets_of
from ..failure import MOST_FRAMES, body_traceback, shown_message
from ..redaction import Secrets
from ..values import Failure, Outcome

# A longer chain of causes is cut.
_LONGEST_CHAIN = 20
# A traceback takes a frame's name and its source from these.
_GLOBALS = ("__name__", "__file__", "__loader__", "__spec__")


def error_of(outcome: Outcome) -> BaseException | None:
    """Return the exception that ended the attempt, for handlers of log records.

    If a secret of the job may stand in it or in the local variables of its frames, it is a copy.
    The copy has the class's name, the message without the secrets, the causes, and frames with
    their files, functions and lines, but without local variables.
    """
    error, failure = outcome.value, outcome.failure
    if not isinstance(error, BaseException) or failure is None:
        return None
    if not failure.is_secret:
        return error
    try:
        return safe_error(error, secrets_of(outcome.job, has_taken=not outcome.job.problem))
    except Exception:  # its class or its attributes are not as Python's own are
        return _described(failure)


def safe_error(error: BaseException, secrets: Secrets) -> BaseException:
    """Return a copy of *error* without *secrets* and without local variables."""
    return _Copies(secrets).of(error)


class _Copies:
    """Copies exceptions, each of them once: groups and causes may lead to one many times."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._known: dict[int, BaseException] = {}

    def of(self, error: BaseException, depth: int = 0) -> BaseException:
        known = self._known.get(id(error))
        return known if known is not None else self._copy(error, depth)

    def _copy(self, error: BaseException, depth: int) -> BaseException:
        kind, secrets = type(error), self._secrets
        is_group = isinstance(error, BaseExceptionGroup) and depth < _LONGEST_CHAIN
        safe = _class(kind.__module__, kind.__qualname__, kind.__name__, is_group)
        # Causes and members that lead back to it find this copy.
        self._known[id(error)] = safe("", [Exception()]) if is_group else safe()
        copy: BaseException
        if isinstance(error, BaseExceptionGroup) and is_group:
            members = [self.of(each, depth + 1) for each in error.exceptions]
            copy = safe(secrets.blanked(error.message), members)
        else:
            copy = safe(shown_message(error, secrets))
        self._known[id(error)] = copy
        for note in _notes(error):
            copy.add_note(secrets.blanked(note))
        if depth < _LONGEST_CHAIN:
            if error.__cause__ is not None:
                copy.__cause__ = self.of(error.__cause__, depth + 1)
            elif error.__context__ is not None and not error.__suppress_context__:
                copy.__context__ = self.of(error.__context__, depth + 1)
        return copy.with_traceback(_traceback(body_traceback(error)))


def _described(failure: Failure) -> BaseException:
    """Return an exception with the class's name and the message of *failure* only."""
    module, _, name = failure.error_class.rpartition(".")
    return _class(module, name, name, False)(failure.message)


@functools.lru_cache(maxsize=256)
def _class(module: str, qualname: str, name: str, is_group: bool) -> type[BaseException]:
    base = BaseExceptionGroup if is_group else Exception
    return type(name, (base,), {"__module__": module, "__qualname__": qualname})


def _notes(error: BaseException) -> Iterator[str]:
    notes = getattr(error, "__notes__", ())
    yield from (str(note) for note in notes if isinstance(notes, list))


def _traceback(trace: TracebackType | None) -> TracebackType | None:
    """Return a copy of a traceback, whose frames have no local variables."""
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    copy = None
    for frame, line in reversed(frames[-MOST_FRAMES:]):
        copy = TracebackType(copy, _frame(frame), 0, line)
    return copy


def _template() -> Iterator[None]:
    yield


def _nowhere(code: CodeType) -> bytes:
    """Return a table that gives no line to any instruction, so that a traceback's lines count."""
    left = len(code.co_code) // 2
    table = b""
    while left > 0:
        # An entry for up to eight instructions without a place: see Objects/locations.md of Python.
        table += bytes([0xF8 | min(left, 8) - 1])
        left -= 8
    return table


_CODE = _template.__code__.replace(co_linetable=_nowhere(_template.__code__))


def _frame(frame: FrameType) -> FrameType:
    """Return a frame of the same function, which has no local variables and no caller."""
    code = _CODE.replace(
        co_filename=frame.f_code.co_filename,
        co_name=frame.f_code.co_name,
        co_qualname=frame.f_code.co_qualname,
    )
    known = frame.f_globals
    names = {name: known[name] for name in _GLOBALS if name in known}
    # Only the frame of a generator that has not begun leads to no other frame.
    new: FrameType = FunctionType(code, names)().gi_frame
    return new
