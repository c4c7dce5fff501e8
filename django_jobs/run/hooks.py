"""Calls a job's hooks and the receivers of signals, and logs, when an attempt begins and ends."""

from __future__ import annotations

from typing import Any

from .. import log, signals
from ..define import registry
from ..define.context import JobContext
from ..define.current import running
from ..failure import describe
from ..status import ENDED, Status
from ..values import Claimed, Outcome
from . import redirect_output
from .outcome import Execution
from .outside_body import hidden


def start(execution: Execution) -> None:
    job, request = execution.job, execution.context.request
    log.job_started(job)
    if _overrides(execution.context, "before_start"):
        _hook(execution, "before_start", request.id, request.args, request.kwargs)
    _send(signals.job_prerun, job, args=request.args, kwargs=request.kwargs)


def tell(outcome: Outcome, execution: Execution | None) -> Outcome:
    """Call hooks and receivers for the end of an attempt, and log it; return the outcome."""
    if execution is not None:
        _tell_hooks(outcome, execution)
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
    if execution is not None:
        request = execution.context.request
        _send(
            signals.job_postrun,
            job,
            args=request.args,
            kwargs=request.kwargs,
            status=status,
            result=value,
        )
        redirect_output.finish(execution.context)
    function = registry.find(job.name)
    throws = tuple(function.options.throws) if function else ()
    log.job_ended(outcome, expected=isinstance(value, throws))
    return outcome


def _tell_hooks(outcome: Outcome, execution: Execution) -> None:
    context, value = execution.context, outcome.value
    if type(context) is JobContext:
        return
    request = context.request
    trace = outcome.failure.traceback if outcome.failure else ""
    arguments = (request.id, request.args, request.kwargs)
    if outcome.status == Status.SUCCESS:
        _hook(execution, "on_success", value, *arguments)
    elif outcome.status == Status.RETRY:
        _hook(execution, "on_retry", value, *arguments, trace)
    elif outcome.status == Status.FAILURE:
        _hook(execution, "on_failure", value, *arguments, trace)
    if outcome.status in ENDED or outcome.status == Status.RETRY:
        _hook(execution, "after_return", outcome.status, value, *arguments, trace)


def _overrides(context: JobContext, hook: str) -> bool:
    return getattr(type(context), hook) is not getattr(JobContext, hook)


def _hook(execution: Execution, hook: str, *args: Any) -> None:
    try:
        getattr(execution.context, hook)(*args)
    except BaseException as error:  # sys.exit() ends no job that has succeeded
        if is_interrupt(error):
            raise
        job = execution.job
        log.hook_failed(hook, job.name, describe(error, hidden(job, list(args))))


def _send(signal: signals.Signal, job: Claimed, **named: Any) -> None:
    if not signal.receivers:
        return
    try:
        signals.send(signal, job.name, hidden=lambda: hidden(job, named), job_id=job.id, **named)
    except BaseException as error:  # Django's dispatcher lets pass what sys.exit() raises
        if is_interrupt(error):
            raise
        log.receiver_failed(job.name, describe(error, hidden(job, named)))


def is_interrupt(error: BaseException) -> bool:
    """Return whether a person interrupts an eager run, in the process of the caller."""
    context = running.get()
    return isinstance(error, KeyboardInterrupt) and bool(context and context.request.is_eager)
