"""Gives back jobs that fail because the interpreter of a web process ends.

From its end on an interpreter refuses new threads and, from Python 3.12 on, new processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..exceptions import WorkerStopping

# Part of the message of each such refusal: of threads, of processes and of executors.
_REFUSED = "interpreter shutdown"


class GivenBackAtExit:
    """A context around each body: an error through the interpreter's end gives the job back.

    *stop* is called then, so that the worker claims no more.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if any(isinstance(one, RuntimeError) and _REFUSED in str(one) for one in _chain(error)):
            self._stop()
            raise WorkerStopping("The web process ended while the job ran.") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
