"""Django signals of the lives of jobs and workers.

The sender of a job's signal is the name of its job function, a :class:`JobName`; ``job_id`` is a
text (:class:`~django_jobs.ids.JobId`). Connect with a job function or its name as ``sender=``, or
without one for all jobs. The sender of a worker's signal is its name, a :class:`WorkerName`.
``@signal.connect`` works as a decorator. An error in a receiver is logged and does not change the
job. A signal without receivers costs nothing. The signals of a job's end come after its record.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections, transaction
from django.dispatch import Signal as DjangoSignal

from .define import registry
from .failure import describe
from .ids import JobId
from .redaction import NO_SECRETS, Secrets


class JobName(str):
    """The name of a job function, as the sender of its signals; ``name`` is the same text."""

    # One object for each connected name, because Django compares senders by identity.
    _known: dict[str, JobName] = {}

    @property
    def name(self) -> str:
        return str(self)


class WorkerName(str):
    """The name of a worker, as the sender of its signals; ``name`` is the same text."""

    #: Name of the worker's host.
    hostname: str
    #: Id of the process that sends the signal.
    pid: int
    #: Queues that it serves; an empty list means every queue that it does not exclude.
    queues: list[str]

    @property
    def name(self) -> str:
        return str(self)


class Signal(DjangoSignal):
    """A Django signal that also works as a decorator and takes a job function as sender."""

    def __init__(self) -> None:
        # Workers ask for each job whether it has receivers.
        super().__init__(use_caching=True)

    def connect(self, receiver: Any = None, sender: Any = None, *args: Any, **options: Any) -> Any:
        """Connect *receiver* and return it. Without a receiver, return a decorator."""
        if receiver is None:
            return functools.partial(self._decorate, sender=sender, **options)
        super().connect(receiver, _known_sender(sender), *args, **options)
        return receiver

    def _decorate(self, receiver: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.connect(receiver, **options)
        return receiver

    def disconnect(
        self, receiver: Any = None, sender: Any = None, dispatch_uid: Any = None
    ) -> bool:
        """Disconnect a receiver, by itself or *dispatch_uid*; return whether it was connected."""
        return super().disconnect(receiver, _known_sender(sender), dispatch_uid)

    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        # Django would log the exception, which may quote the job's arguments.
        pass


class WorkerSignal(Signal):
    """A signal of a worker. Its sender exists only in the sending process."""

    def connect(self, receiver: Any = None, sender: Any = None, *args: Any, **options: Any) -> Any:
        """Connect *receiver* as :meth:`Signal.connect` does; ``TypeError`` for a *sender*."""
        if sender is not None:
            raise TypeError(
                f"A worker's signal cannot be connected to a sender, got {sender!r}: connect it "
                "without sender=, and let the receiver compare its argument name."
            )
        return super().connect(receiver, None, *args, **options)


def _known_sender(sender: Any) -> Any:
    """Return the one sender object of a job function, which is given as itself or by name."""
    name = getattr(sender, "name", None)
    if isinstance(name, str) and registry.find(name) is sender:
        sender = name
    return JobName._known.setdefault(sender, JobName(sender)) if type(sender) is str else sender


#: After the INSERT, in the caller's transaction: ``job_ids`` (list), ``queue``.
job_enqueued = Signal()
#: In the worker, before the body: ``job_id, args, kwargs``.
job_prerun = Signal()
# These are sent after the job's row has the outcome.
#: An attempt ended, with any outcome: ``job_id, args, kwargs, status, result``.
job_postrun = Signal()
#: The job succeeded: ``job_id, result``.
job_success = Signal()
#: The job failed and is not retried: ``job_id, exception, traceback``.
job_failure = Signal()
#: An attempt failed and is retried: ``job_id, exception, delay`` (seconds; None with an eta).
job_retry = Signal()
#: A job was revoked or expired: ``job_id, terminated, reason``.
job_revoked = Signal()

# All signals of workers have ``name, hostname, pid, queues``.
#: In the process that ``runworker`` started, before it forks: ``options``.
worker_init = WorkerSignal()
#: A worker is registered and claims jobs: ``worker_id``.
worker_ready = WorkerSignal()
#: A worker has released its jobs and stops: ``worker_id, warm``.
worker_shutting_down = WorkerSignal()
#: In the process that ``runworker`` started, at its end.
worker_shutdown = WorkerSignal()
#: In each worker process, at its start and at its end: ``worker_id``.
worker_process_init = WorkerSignal()
worker_process_shutdown = WorkerSignal()

_log = logging.getLogger("django_jobs.signals")


def is_heard(signal: Signal, name: str) -> bool:
    """Return whether a receiver for the job function of that *name* waits for *signal*.

    A receiver with the attribute ``is_awaited``, a function of the name, says so itself; others
    do wait.
    """
    if not signal.receivers:
        return False
    at_once, in_coroutines = signal._live_receivers(_sender_of(name))
    return bool(in_coroutines) or any(
        not hasattr(receiver, "is_awaited") or receiver.is_awaited(name) for receiver in at_once
    )


def _sender_of(name: str) -> JobName:
    known = JobName._known.get(name)
    if known is None:
        known = JobName(name)
        if registry.find(name) is not None:
            JobName._known[name] = known
    return known


def send(
    signal: Signal,
    sender: Any,
    *,
    hidden: Callable[[], Secrets] | None = None,
    about: Callable[[], dict[str, Any]] = dict,
    inside: str = "",
    **named: Any,
) -> None:
    """Send *signal* to its receivers, if it has any, and log their exceptions.

    *inside* is a database's alias: if a receiver's statement fails, a transaction that is open
    there can go on. *hidden* returns the secrets to blank in the log. Without it, the log has only
    the class and the lines of code of an exception about a job. *about* returns the attributes of
    the log's records.
    """
    if not signal.receivers:
        return
    if isinstance(sender, str) and not isinstance(sender, WorkerName):
        sender = _sender_of(sender)
    if not signal.has_listeners(sender):
        return
    named = {key: _shown_id(value) for key, value in named.items()}
    with _savepoint(inside):
        answers = signal.send_robust(sender, **named)
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            # The exception may quote the job's arguments, so handlers get only the text.
            text = _text_of(answer, hidden, named)
            _log.error("signal receiver %r failed\n%s", receiver, text, extra=about())


def send_of_worker(signal: WorkerSignal, name: str, *, queues: Iterable[str], **named: Any) -> None:
    """Send *signal* for the worker *name* of this process, which serves *queues*."""
    if not signal.receivers:
        return
    sender = WorkerName(name)
    sender.hostname, sender.pid, sender.queues = socket.gethostname(), os.getpid(), list(queues)
    send(signal, sender, name=name, **vars(sender), **named)


@contextlib.contextmanager
def _savepoint(using: str) -> Iterator[None]:
    if not using or not connections[using].in_atomic_block:
        yield
        return
    # Without a savepoint, PostgreSQL would refuse the statements that follow, and Django would roll
    # the transaction back. send_robust() has already returned the error.
    with contextlib.suppress(DatabaseError), transaction.atomic(using):
        yield


def _text_of(error: Exception, hidden: Callable[[], Secrets] | None, named: dict[str, Any]) -> str:
    if hidden is not None:
        return describe(error, hidden()).traceback
    if not {"job_id", "job_ids"} & named.keys():
        return describe(error, NO_SECRETS).traceback
    return f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__qualname__}"


def _shown_id(value: Any) -> Any:
    """Return an id, or a list of ids, as texts."""
    if isinstance(value, UUID):
        return JobId(value)
    if isinstance(value, list) and value and isinstance(value[0], UUID):
        return [JobId(each) for each in value]
    return value
