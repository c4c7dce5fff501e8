"""One attempt at a job: prepare, call, and decide what its end means.

Nothing here writes to the job's row; the :class:`~django_jobs.values.Outcome` is a value. Hooks and
receivers hear of an end after the environment has confirmed that it is recorded.
"""

from __future__ import annotations

import contextvars
import decimal
from collections.abc import Awaitable, Callable
from typing import Any

from .. import log
from ..db import refusing_database
from ..define.current import running
from ..exceptions import WorkerStopping
from ..failure import describe
from ..values import Claimed, Outcome
from .call import body, call_body, left_open
from .environment import Environment
from .hooks import conclude, conclude_async, keep_for_later, start
from .middleware import Around
from .outcome import Execution, raised, returned
from .outside_body import crashed, hidden, unrunnable
from .prepare import prepare

__all__ = [
    "Environment",
    "body",
    "execute",
    "execute_async",
    "execute_crash",
    "execute_here",
    "execute_refusal",
    "left_open",
]


def execute(job: Claimed, environment: Environment) -> Outcome:
    """Run one attempt in this thread and return how it ended."""
    # Context variables, the active language and the time zone end with the copy.
    return contextvars.copy_context().run(execute_here, job, environment)


def execute_here(job: Claimed, environment: Environment) -> Outcome:
    """Do as :func:`execute` does, in a copied context that the caller has entered for the job."""
    outcome = _execute(job, environment)
    keep_for_later(outcome)
    return outcome


def _execute(job: Claimed, environment: Environment) -> Outcome:
    _name_in_records(job, environment)
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return conclude(execution, environment)
    _enter(execution)
    around = Around(execution, environment.middleware) if environment.middleware else None
    try:
        # This comes first: if the process dies after it, the job counts as the cause.
        environment.begins(execution)
        if around is not None:
            around.enter()
        start(execution)
        outcome = call_body(execution, environment)
    except BaseException as error:
        if environment.is_eager and isinstance(error, KeyboardInterrupt):
            raise
        environment.tidy()
        outcome = raised(execution, _reason(error, environment))
        if around is not None:
            around.error = error
    outcome.execution = execution
    conclude(outcome, environment)
    if around is not None:
        # With the variables that the middleware has set.
        keep_for_later(outcome)
        around.leave(outcome)
    return outcome


async def execute_async(
    job: Claimed,
    environment: Environment,
    call: Callable[[Execution], Awaitable[Any]],
    confirm: Callable[[Outcome], Awaitable[Outcome | None]],
) -> Outcome:
    """Run one attempt in a task of its own; *call* awaits the body under its limits.

    *confirm* does what ``environment.confirm`` does for plain functions.
    """
    _name_in_records(job, environment)
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return await conclude_async(execution, confirm)
    _enter(execution)
    around = Around(execution, environment.middleware) if environment.middleware else None
    try:
        environment.begins(execution)
        if around is not None:
            await around.enter_async()
        start(execution)
        outcome = returned(execution, await call(execution))
    except BaseException as error:
        outcome = raised(execution, _reason(error, environment))
        if around is not None:
            around.error = error
    outcome.execution = execution
    await conclude_async(outcome, confirm)
    keep_for_later(outcome)
    if around is not None:
        await around.leave_async(outcome)
    return outcome


def _reason(error: BaseException, environment: Environment) -> BaseException:
    """Return *error*; if the database of the jobs refused a connection, a ``WorkerStopping``."""
    if environment.is_eager or refusing_database(error) != environment.using:
        return error
    environment.refused(error)
    stopping = WorkerStopping(f"it could not connect to database {environment.using!r}: {error}")
    stopping.__cause__ = error
    return stopping


def _name_in_records(job: Claimed, environment: Environment) -> None:
    log.subject.set(job)
    if log.worker_name.get() != environment.worker_name:
        log.worker_name.set(environment.worker_name)


def _enter(execution: Execution) -> None:
    running.set(execution.context)
    # Copies of a context share one decimal context, and code changes it in place.
    decimal.setcontext(decimal.getcontext().copy())


def execute_crash(job: Claimed, error: BaseException | None, environment: Environment) -> Outcome:
    """Return the outcome of an attempt whose process died, or was killed because of *error*.

    The same rules for retries hold as for an attempt that raised *error*. The caller records the
    outcome and then calls :func:`~django_jobs.run.hooks.tell`.
    """
    if error is not None:
        try:
            execution = prepare(job, environment)
        except Exception as broken:  # in a base= class, which then has no hooks to call
            log.unprepared(job, describe(broken, hidden(job)))
        else:
            if isinstance(execution, Execution):
                outcome = raised(execution, error)
                outcome.execution = execution
                return outcome
    return crashed(job)


def execute_refusal(job: Claimed, error: Exception) -> Outcome:
    """Return the outcome of a job whose limit cannot be told, because its key function failed."""
    return unrunnable(job, error)
