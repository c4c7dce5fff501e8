"""One attempt at a job: prepare, call, and decide what its end means.

Nothing here writes to the job's row; the :class:`~django_jobs.values.Outcome` is a value. Hooks and
receivers hear of an end after the environment has confirmed that it is recorded.
"""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .. import log
from ..failure import describe
from ..values import Claimed, Outcome
from .attempt import enter, name_in_records, reason_of
from .batch import ConfirmAllAsync, execute_batch, execute_batch_async
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
    "execute_batch",
    "execute_batch_async",
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
    name_in_records(job, environment)
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return conclude(execution, environment)
    if execution.function.options.batch_size is not None:
        return execute_batch([job], dataclasses.replace(environment, confirm_all=None))[0]
    enter(execution)
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
        outcome = raised(execution, reason_of(error, environment))
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
    name_in_records(job, environment)
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return await conclude_async(execution, confirm)
    if execution.function.options.batch_size is not None:
        return (await execute_batch_async([job], environment, call, _each(confirm)))[0]
    enter(execution)
    around = Around(execution, environment.middleware) if environment.middleware else None
    try:
        environment.begins(execution)
        if around is not None:
            await around.enter_async()
        start(execution)
        outcome = returned(execution, await call(execution))
    except BaseException as error:
        outcome = raised(execution, reason_of(error, environment))
        if around is not None:
            around.error = error
    outcome.execution = execution
    await conclude_async(outcome, confirm)
    keep_for_later(outcome)
    if around is not None:
        await around.leave_async(outcome)
    return outcome


def _each(confirm: Callable[[Outcome], Awaitable[Outcome | None]]) -> ConfirmAllAsync:
    async def confirm_all(outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return [await confirm(outcome) for outcome in outcomes]

    return confirm_all


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
