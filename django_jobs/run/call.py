"""Calls the body of a job under its time limits, and in a transaction where it is ``atomic``."""

from __future__ import annotations

import functools
import random
import time
import types
from typing import Any

from django.db import Error, connections, transaction

from .. import log
from ..db import Kind, kind_of
from ..db.attempts import transaction_ended_by
from ..define.batch import jobs_of
from ..define.current import Request
from ..exceptions import TransactionLeftOpen, TransactionLost
from ..failure import describe
from ..values import Outcome
from . import forks
from .environment import Environment
from .hooks import is_interrupt
from .outcome import Execution, returned
from .time_limits import run_limited

# An atomic job whose transaction meets a conflict is tried this many times.
_CONFLICT_TRIES = 8


def body(execution: Execution) -> Any:
    """Call the function and return its result; an ``async def`` returns a coroutine."""
    function, context = execution.function, execution.context
    # Hooks and middleware may have given the request other arguments.
    given: Execution | Request = context.made_request or execution
    before = forks.generation
    try:
        if function.options.bind or function.base_wraps:
            value = context(*given.args, **given.kwargs)
        else:
            value = function.__wrapped__(*given.args, **given.kwargs)
    except BaseException as error:
        if forks.generation != before:
            forks.leave(error)
        raise
    if forks.generation != before:
        forks.leave(None)
    return value


def call_body(execution: Execution, environment: Environment) -> Outcome:
    if execution.function.options.atomic:
        return _call_atomic(execution, environment)[0]
    value = _run(execution, environment)
    alias = environment.tidy()
    if alias:
        raise left_open(execution, alias)
    return returned(execution, value)


def call_batch(execution: Execution, environment: Environment) -> list[Outcome]:
    """Call the body of a batch; return an outcome for each call."""
    if execution.function.options.atomic:
        return _call_atomic(execution, environment)
    outcomes = execution.ends(functools.partial(_run, execution, environment))
    alias = environment.tidy()
    if alias:
        raise left_open(execution, alias)
    return outcomes


def left_open(execution: Execution, alias: str) -> TransactionLeftOpen:
    """Return the error of a body that returned inside a transaction, which was rolled back."""
    return TransactionLeftOpen(
        f"{execution.job.name} returned with a transaction open on database {alias!r}, which was "
        "rolled back; leave atomic(), and commit what your own SQL began, before you return"
    )


def _call_atomic(execution: Execution, environment: Environment) -> list[Outcome]:
    """Call the body in the transaction that also writes SUCCESS; repeat both after a conflict.

    A deadlock or a serialization failure has rolled back what the body wrote.
    """
    inside = connections[environment.using].in_atomic_block
    for number in range(_CONFLICT_TRIES):
        ended: list[Outcome] = []
        try:
            return _in_transaction(execution, environment, ended)
        except Error as error:
            kind = kind_of(error)
            last = inside or number == _CONFLICT_TRIES - 1
            if kind is not Kind.CONFLICT or last:
                if ended and kind is not Kind.WRONG and not environment.is_eager:
                    # The body returned, but its writes were rolled back together with SUCCESS.
                    raise TransactionLost(f"Its transaction could not be ended: {error}") from error
                raise
        # A random wait, so that the transactions in conflict do not meet again.
        time.sleep(random.uniform(0, 0.01 * 2**number))
        context = execution.context
        context.added, context.journal, context.has_ended = (), None, False
    raise AssertionError("the last try returns or raises")


def _in_transaction(
    execution: Execution, environment: Environment, ended: list[Outcome]
) -> list[Outcome]:
    committed: list[bool] = []
    try:
        with transaction.atomic(environment.using):
            # It runs before the on_commit hooks of the body. If it ran, an error comes from those.
            transaction.on_commit(lambda: committed.append(True), environment.using)
            outcomes = _call_in_transaction(execution, environment, ended)
    except BaseException as error:
        if not committed or is_interrupt(error):
            raise
        job = jobs_of(execution.context)[0]
        log.hook_failed("on_commit", job, describe(error, execution.secrets()))
    recorded = execution.may_commit(outcomes)
    for outcome in outcomes:
        outcome.recorded = recorded
    return outcomes


def _call_in_transaction(
    execution: Execution, environment: Environment, ended: list[Outcome]
) -> list[Outcome]:
    outcomes = execution.ends(functools.partial(_run, execution, environment))
    ended += outcomes
    cause = transaction_ended_by(environment.using)
    if cause:
        raise transaction.TransactionManagementError(
            f"{execution.job.name} is atomic, and {cause} ended its transaction before its "
            "time: what it wrote is not one unit with its success. Leave COMMIT and ROLLBACK "
            "to atomic()."
        )
    if not execution.may_commit(outcomes):
        # The result cannot be stored, so the writes of the body are rolled back too.
        transaction.set_rollback(True, environment.using)
    elif not environment.commit(outcomes):
        raise execution.lost()
    return outcomes


def _run(execution: Execution, environment: Environment) -> Any:
    try:
        if environment.stoppable is None:
            return _run_limited(execution, environment)
        with environment.stoppable:
            return _run_limited(execution, environment)
    finally:
        if execution.context.journal is not None:
            execution.context.journal.close()


def _run_limited(execution: Execution, environment: Environment) -> Any:
    seconds = execution.soft_time_limit
    if execution.function.is_async:
        # The coroutine runs in another thread, so the limit must be raised inside the coroutine.
        return run_limited(body(execution), seconds)
    if seconds and environment.soft_limit is not None:
        with environment.soft_limit(seconds):
            value = body(execution)
    else:
        value = body(execution)
    if type(value) is types.CoroutineType:
        return _awaited(execution, value, seconds)
    return value


def _awaited(execution: Execution, value: Any, seconds: float | None) -> Any:
    """Await the coroutine that a plain function returned, as a decorator of ``async def`` does."""
    if execution.function.options.atomic:
        value.close()
        raise TypeError(
            f"{execution.job.name} returned a coroutine, and atomic=True needs a plain function: "
            "Django's transactions do not span await. Return a value, or leave atomic out."
        )
    return run_limited(value, seconds)
