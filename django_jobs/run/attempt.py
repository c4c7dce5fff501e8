"""The begin and the end that an attempt at one job and the attempts of a batch share."""

from __future__ import annotations

import decimal

from .. import log
from ..db import refusing_database
from ..define.current import running
from ..exceptions import WorkerStopping
from ..values import Claimed
from .environment import Environment
from .outcome import Execution


def name_in_records(job: Claimed | None, environment: Environment) -> None:
    """Let the records of the current context name the job and its worker."""
    log.subject.set(job)
    if log.worker_name.get() != environment.worker_name:
        log.worker_name.set(environment.worker_name)


def enter(execution: Execution) -> None:
    """Make the job the running one of the current context."""
    running.set(execution.context)
    # Copies of a context share one decimal context, and code changes it in place.
    decimal.setcontext(decimal.getcontext().copy())


def reason_of(error: BaseException, environment: Environment) -> BaseException:
    """Return *error*; if the database of the jobs refused a connection, a ``WorkerStopping``."""
    if environment.is_eager or refusing_database(error) != environment.using:
        return error
    environment.refused(error)
    stopping = WorkerStopping(f"it could not connect to database {environment.using!r}: {error}")
    stopping.__cause__ = error
    return stopping
