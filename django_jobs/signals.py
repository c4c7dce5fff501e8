"""Django signals of a job's and a worker's life.

The sender of a job's signal is its name, a string; ``job_id`` is a :class:`uuid.UUID`.
A receiver's error is logged and does no harm to the job. A signal without receivers costs nothing.
"""

import logging
from typing import Any

from django.dispatch import Signal

#: After the INSERT, in the caller's transaction: ``job_ids`` (list), ``queue``.
job_enqueued = Signal()
#: In the worker, before the body: ``job_id, args, kwargs``.
job_prerun = Signal()
#: In the worker, after the body, however it ended: ``job_id, args, kwargs, status, result``.
job_postrun = Signal()
#: The body returned: ``job_id, result``.
job_success = Signal()
#: The job failed for good: ``job_id, exception, traceback``.
job_failure = Signal()
#: An attempt failed and another follows: ``job_id, exception, delay`` (seconds; None: an eta).
job_retry = Signal()
#: A job was revoked or expired: ``job_id, terminated, reason``.
job_revoked = Signal()

#: In the process that ``runworker`` started, before it forks: ``options``.
worker_init = Signal()
#: A worker is registered and takes jobs: ``worker_id``.
worker_ready = Signal()
#: A worker was told to stop: ``worker_id, warm``.
worker_shutting_down = Signal()
#: In the process that ``runworker`` started, at its end.
worker_shutdown = Signal()
#: In each worker process, at its start and at its end: ``worker_id``.
worker_process_init = Signal()
worker_process_shutdown = Signal()

_log = logging.getLogger("django_jobs.signals")


def send(signal: Signal, sender: Any, **named: Any) -> None:
    """Send *signal* to its receivers, if it has any; log what they raise."""
    if not signal.receivers:
        return
    for receiver, answer in signal.send_robust(sender, **named):
        if isinstance(answer, Exception):
            _log.error("signal receiver %r failed", receiver, exc_info=answer)
