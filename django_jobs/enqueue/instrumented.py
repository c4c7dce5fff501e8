"""Lets the registered instrumentation see an enqueue, and add its headers to the rows."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from .. import log
from ..define import instrumentation
from ..define.instrumentation import Enqueuing
from ..define.sensitive import secrets_of
from ..failure import describe
from ..redaction import Secrets
from ..values import NewJob

#: The headers of no job.
NO_CAUSE: Mapping[str, Any] = {}


class Harmless(AbstractContextManager[Any]):
    """Enters and leaves the manager that *make* returns; its errors are logged.

    *path* names it in the log, and *hidden* returns the secrets that the log must not show.
    """

    def __init__(
        self,
        path: str,
        make: Callable[[], AbstractContextManager[Any]],
        hidden: Callable[[], Secrets],
    ) -> None:
        self._path, self._make, self._hidden = path, make, hidden
        self._manager: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Any:
        """Return what the manager returns; None after an error."""
        try:
            manager = self._make()
            entered = manager.__enter__()
        except Exception as error:
            self._failed(error)
            return None
        self._manager = manager
        return entered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._manager is None:
            return
        try:
            self._manager.__exit__(kind, error, trace)
        except Exception as broken:
            if broken is not error:
                self._failed(broken)

    def _failed(self, error: Exception) -> None:
        log.instrumentation_failed(self._path, describe(error, self._hidden()))


@contextlib.contextmanager
def instrumented(
    rows: Sequence[NewJob], cause: Mapping[str, Any] = NO_CAUSE
) -> Iterator[Enqueuing]:
    """Yield the enqueue of *rows*, with the headers of the instrumentation around it.

    *cause* are the headers of the job whose end enqueues them. The caller sets ``written``.
    """
    jobs = Enqueuing(rows, cause)
    added: list[Mapping[str, Any]] = []
    with contextlib.ExitStack() as stack:
        for each in instrumentation.instrumentations:
            make = functools.partial(each.enqueuing, jobs)
            manager = Harmless(each.path, make, lambda: secrets_of(*rows))
            if headers := stack.enter_context(manager):
                added.append(headers)
        jobs.rows = [_with(row, added) for row in rows]
        yield jobs


def sent(rows: Sequence[NewJob], cause: Mapping[str, Any] = NO_CAUSE) -> Sequence[NewJob]:
    """Return *rows* with the headers of the instrumentation, for jobs that this call enqueues.

    It is for jobs that run in this process, and for those that are written later.
    """
    if not instrumentation.instrumentations or not rows:
        return rows
    with instrumented(rows, cause) as jobs:
        jobs.written = jobs.rows
    return jobs.rows


def _with(row: NewJob, added: Sequence[Mapping[str, Any]]) -> NewJob:
    own = json.loads(row.headers) if row.headers else {}
    headers = dict(own)
    for each in added:
        # A trace that the caller chose is not mixed with another one.
        if own.keys().isdisjoint(each):
            headers.update({name: _joined(name, headers, value) for name, value in each.items()})
    return row._replace(headers=json.dumps(headers)) if headers else row


def _joined(name: str, headers: Mapping[str, Any], value: Any) -> Any:
    """Return the value of a header that another tracer may have added: W3C's baggage is a list."""
    return f"{headers[name]},{value}" if name == "baggage" and name in headers else value
