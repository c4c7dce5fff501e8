"""Calls a job's hooks and the receivers of signals, and logs, when an attempt begins and ends.

They hear of an end after the row has it. The slot of the job waits for that only where a hook or a
receiver wants to hear of the end, or where it is a failure: handlers may mail the log line of one.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from .. import log, signals
from ..define import instrumentation, registry
from ..define.context import JobContext
from ..define.current import running
from ..failure import describe
from ..status import ENDED, Status
from ..values import Claimed, Outcome
from . import redirect_output
from .environment import Environment
from .outcome import Execution
from .outside_body import hidden

_SIGNALS: dict[str, signals.Signal] = {
    Status.SUCCESS: signals.job_success,
    Status.RETRY: signals.job_retry,
    Status.FAILURE: signals.job_failure,
    Status.REVOKED: signals.job_revoked,
}
_HOOKS: dict[str, str] = {
    Status.SUCCESS: "on_success",
    Status.RETRY: "on_retry",
    Status.FAILURE: "on_failure",
}


def start(execution: Execution) -> None:
    job, context = execution.job, execution.context
    log.job_started(job)
    if type(context) is not JobContext and _overrides(context, "before_start"):
        request = context.request
        _hook(execution, "before_start", request.id, request.args, request.kwargs)
    if signals.job_prerun.receivers:
        _send(signals.job_prerun, job, args=context.request.args, kwargs=context.request.kwargs)


def conclude(outcome: Outcome, environment: Environment) -> Outcome:
    """Wait until the outcome is recorded if somebody wants to hear of it; return the outcome.

    Of other outcomes only a line of the log tells. The thread that records them writes it, with
    :func:`tell_later`.
    """
    if environment.confirm is None or outcome.recorded:
        _tell_anyway(outcome)
    elif is_awaited(outcome):
        recorded = environment.confirm(outcome)
        if recorded is not None:
            _tell_anyway(recorded)
    _finish_output(outcome)
    return outcome


async def conclude_async(
    outcome: Outcome, confirm: Callable[[Outcome], Awaitable[Outcome | None]]
) -> Outcome:
    """Do as :func:`conclude` does, in a coroutine."""
    if is_awaited(outcome):
        recorded = await confirm(outcome)
        if recorded is not None:
            _tell_anyway(recorded)
    _finish_output(outcome)
    return outcome


def is_awaited(outcome: Outcome) -> bool:
    """Return whether the job's slot waits for the record of this outcome, to tell of it."""
    return outcome.status == Status.FAILURE or has_listeners(outcome)


def has_listeners(outcome: Outcome) -> bool:
    """Return whether a hook or a receiver wants to hear of this end."""
    status, name = outcome.status, outcome.job.name
    signal = _SIGNALS.get(status)
    if signal is not None and signal.receivers and signals.is_heard(signal, name):
        return True
    if outcome.execution is None:
        return False
    if signals.job_postrun.receivers and signals.is_heard(signals.job_postrun, name):
        return True
    context = outcome.execution.context
    if type(context) is JobContext or not _ends_attempt(status):
        return False
    return _overrides(context, "after_return") or (
        status in _HOOKS and _overrides(context, _HOOKS[status])
    )


def keep_for_later(outcome: Outcome) -> None:
    """Keep for :func:`tell_later` what it may need: many outcomes wait for one record.

    That is the current context, if a hook, a receiver or the log hears of the end.
    """
    if outcome.told:
        outcome.execution = None
    elif outcome.variables is not None:  # its slot has kept them
        return
    elif outcome.status != Status.SUCCESS or log.logs_successes():
        outcome.variables = contextvars.copy_context()
    elif outcome.execution is not None and type(outcome.execution.context) is JobContext:
        outcome.execution = None


def tell_later(outcome: Outcome, variables: contextvars.Context | None = None) -> None:
    """Tell of an end after its attempt, in the context of it: in *variables*, or in its own."""
    if (context := variables or outcome.variables) is None:
        _tell_anyway(outcome)
    else:
        context.run(_tell_anyway, outcome)


def _tell_anyway(outcome: Outcome) -> None:
    """Tell of an end, and log an error: the middleware is left, and other ends may wait."""
    try:
        tell(outcome)
    except Exception as error:  # a lazy result may raise any
        log.untold(outcome.job, error)


def tell(outcome: Outcome) -> None:
    """Call hooks and receivers for a recorded end, and log it, with the job as the subject."""
    if log.subject.get() is outcome.job:
        _tell(outcome)
        return
    with log.working_as(log.worker_name.get(), outcome.job):
        _tell(outcome)


def _tell(outcome: Outcome) -> None:
    outcome.told = True
    execution = outcome.execution
    if execution is not None:
        _tell_hooks(outcome, execution)
    _tell_receivers(outcome)
    _finish_output(outcome)
    function = registry.find(outcome.job.name)
    throws = tuple(function.options.throws) if function else ()
    expected = isinstance(outcome.value, throws)
    for tracer in instrumentation.instrumentations:
        tracer.ended(outcome, expected)
    log.job_ended(outcome, expected=expected)


def _tell_receivers(outcome: Outcome) -> None:
    job, status, value = outcome.job, outcome.status, outcome.value
    if status == Status.SUCCESS:
        _send(signals.job_success, job, result=value)
    elif status == Status.RETRY:
        _send(signals.job_retry, job, exception=value, delay=outcome.delay)
    elif status == Status.FAILURE:
        trace = outcome.failure.traceback if outcome.failure else ""
        _send(signals.job_failure, job, exception=value, traceback=trace)
    elif status == Status.REVOKED:
        _send(signals.job_revoked, job, terminated=False, reason="expired")
    if outcome.execution is not None and signals.job_postrun.receivers:
        request = outcome.execution.context.request
        _send(
            signals.job_postrun,
            job,
            args=request.args,
            kwargs=request.kwargs,
            status=status,
            result=value,
        )


def _tell_hooks(outcome: Outcome, execution: Execution) -> None:
    context, status, value = execution.context, outcome.status, outcome.value
    if type(context) is JobContext:
        return
    request = context.request
    trace = outcome.failure.traceback if outcome.failure else ""
    arguments = (request.id, request.args, request.kwargs)
    if status == Status.SUCCESS:
        _hook(execution, "on_success", value, *arguments)
    elif status in _HOOKS:
        _hook(execution, _HOOKS[status], value, *arguments, trace)
    if _ends_attempt(status):
        _hook(execution, "after_return", status, value, *arguments, trace)


def _ends_attempt(status: str) -> bool:
    return status in ENDED or status == Status.RETRY


def _finish_output(outcome: Outcome) -> None:
    if outcome.execution is not None:
        redirect_output.finish(outcome.execution.context)


def _overrides(context: JobContext, hook: str) -> bool:
    return getattr(type(context), hook) is not getattr(JobContext, hook)


def _hook(execution: Execution, hook: str, *args: Any) -> None:
    try:
        getattr(execution.context, hook)(*args)
    except BaseException as error:  # sys.exit() ends no job that has succeeded
        if is_interrupt(error):
            raise
        job = execution.job
        log.hook_failed(hook, job, describe(error, hidden(job, list(args))))


def _send(signal: signals.Signal, job: Claimed, **named: Any) -> None:
    if not signal.receivers:
        return
    try:
        signals.send(
            signal,
            job.name,
            hidden=lambda: hidden(job, named),
            about=lambda: log.of(job),
            job_id=job.id,
            **named,
        )
    except BaseException as error:  # Django's dispatcher lets pass what sys.exit() raises
        if is_interrupt(error):
            raise
        log.receiver_failed(job.id, job.name, describe(error, hidden(job, named)))


def is_interrupt(error: BaseException) -> bool:
    """Return whether a person interrupts an eager run, in the process of the caller."""
    context = running.get()
    return isinstance(error, KeyboardInterrupt) and bool(context and context.request.is_eager)
