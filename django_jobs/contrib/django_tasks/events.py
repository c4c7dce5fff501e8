"""Django's signals of tasks, sent when the signals of their jobs are."""

from __future__ import annotations

import logging
from traceback import format_tb
from typing import Any

from django.db import connections, transaction
from django.dispatch import Signal

from ... import log, signals
from ...define.current import running
from ...exceptions import JobFailed, UpstreamFailed
from ...failure import shown_message
from ...run.outside_body import hidden
from ...values import Failure
from . import results
from .known import named
from .names import (
    AnyResult,
    BaseTaskBackend,
    TaskResultStatus,
    log_task_enqueued,
    log_task_finished,
    task_enqueued,
    task_finished,
    task_started,
)

_DJANGO = logging.getLogger(log_task_enqueued.__module__.removesuffix(".signals"))
_DJANGO_S = {id(log_task_enqueued), id(log_task_finished)}


def enqueued(result: AnyResult, sender: type[BaseTaskBackend], using: str = "") -> None:
    """Send ``task_enqueued``, in the transaction that is open on the database *using*."""
    if _has_only_django_s(task_enqueued):
        if _DJANGO.isEnabledFor(logging.DEBUG):
            _send(task_enqueued, sender, result)
        return
    is_open = using and connections[using].in_atomic_block
    _send(task_enqueued, sender, result, using if is_open else "")


def _has_only_django_s(signal: Signal) -> bool:
    """Return whether the signal has no receiver but Django's own, which writes a line of the log.

    The line of ``task_enqueued`` is of the level DEBUG.
    """
    receivers = signal.receivers
    return len(receivers) == 1 and receivers[0][0][0] in _DJANGO_S


def _started(sender: str, job_id: str, **_: Any) -> None:
    task, context = named(sender), running.get()
    if task is not None and context is not None:
        result = results.of_running(sender, context.request)
        _send(task_started, type(task.get_backend()), result)


def _succeeded(sender: str, job_id: str, result: Any, **_: Any) -> None:
    _finished(sender, job_id, TaskResultStatus.SUCCESSFUL, _return_value=result)


def _failed(sender: str, job_id: str, exception: BaseException, traceback: str, **_: Any) -> None:
    kind, message = type(exception), _message_of(job_id, exception)
    try:
        raise JobFailed(f"{kind.__module__}.{kind.__qualname__}", message, traceback)
    except JobFailed:
        # Receivers may log the exception that is being handled, as Django's own does.
        _finished(sender, job_id, TaskResultStatus.FAILED)


def _message_of(job_id: str, exception: BaseException) -> str:
    """Return the exception's text without the secrets of the job."""
    job = log.subject.get()
    if job is not None and str(job.id) == str(job_id):
        return shown_message(exception, hidden(job))
    # The job did not run. Its error quotes the row of another one, which has no secrets.
    return str(exception) if isinstance(exception, UpstreamFailed) else ""


def _revoked(sender: str, job_id: str, **_: Any) -> None:
    _finished(sender, job_id, TaskResultStatus.FAILED)


def _finished(sender: str, job_id: str, status: TaskResultStatus, **known: Any) -> None:
    task = named(sender)
    if task is not None:
        result = results.made(task, str(job_id), status, **known)
        _send(task_finished, type(task.get_backend()), result)


def _send(
    signal: Signal, sender: type[BaseTaskBackend], result: AnyResult, inside: str = ""
) -> None:
    """Send *signal*, and log an error of a receiver, without its text, which may quote arguments.

    As with Django's backends, receivers after the failing one are not called. *inside* is a
    database's alias: if a receiver's statement fails, a transaction that is open there can go on.
    """
    try:
        if inside:
            with transaction.atomic(inside):
                signal.send(sender, task_result=result)
        else:
            signal.send(sender, task_result=result)
    except Exception as error:
        text = f"{''.join(format_tb(error.__traceback__))}{type(error).__qualname__}"
        failure = Failure(type(error).__qualname__, "", text)
        log.receiver_failed(result.id, result.task.module_path, failure)


def _has_listeners(name: str) -> bool:
    """Return whether another receiver than Django's hears of an end of the job function *name*.

    Django's own receiver only writes a line of the log, for which no slot needs to wait.
    """
    return not _has_only_django_s(task_finished) and named(name) is not None


signals.job_prerun.connect(_started)
for _signal, _receiver in (
    (signals.job_success, _succeeded),
    (signals.job_failure, _failed),
    (signals.job_revoked, _revoked),
):
    setattr(_receiver, "is_awaited", _has_listeners)  # noqa: B010
    _signal.connect(_receiver)
