"""A worker inside the web process, for sites that run as one process: :func:`start`, :func:`asgi`.

The module can be imported before Django is set up.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import gunicorn, places
from .lifespan import Application, with_lifespan

if TYPE_CHECKING:
    from .guest import EmbeddedWorker

__all__ = ["asgi", "start"]

_log = logging.getLogger("django_jobs.worker")
_worker: EmbeddedWorker | None = None


def start(
    *,
    concurrency: int = 2,
    queues: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    beat: bool = True,
    stop_timeout: float = 20.0,
) -> EmbeddedWorker:
    """Run a worker in threads of this process; return its handle.

    Call it in ``wsgi.py`` after ``get_wsgi_application()``, or in gunicorn's hook
    ``post_worker_init``. In gunicorn's master, which loads the application with ``preload_app``,
    each web process starts a worker of its own after its fork. A second call returns the same
    handle. A management command other than ``runserver``, the reloader of ``runserver`` and a test
    run start none, and log why; the handle then is not ``running``.

    The worker stops when the process ends: it finishes the running jobs. After *stop_timeout*
    seconds it gives back those that still run.

    *concurrency* is the number of threads that run jobs. *queues* names the queues to serve, by
    default all but *exclude*. With *beat* the process also fires schedules.

    Raises ``ValueError`` for an option that is impossible, or other options in a second call;
    ``ImproperlyConfigured`` if the jobs or their database need other processes; ``RuntimeError``
    where no worker can run: before Django is set up, in ``AppConfig.ready()``, in an event loop
    (use :func:`asgi`), under uWSGI, gevent or eventlet, and on a system without forks.
    """
    places.refuse_event_loop()
    return _start(
        concurrency=concurrency,
        queues=queues,
        exclude=exclude,
        beat=beat,
        stop_timeout=stop_timeout,
    )


def asgi(
    application: Application,
    *,
    concurrency: int = 2,
    queues: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    beat: bool = True,
    stop_timeout: float = 20.0,
) -> Application:
    """Run a worker as :func:`start` does; return *application* with the lifespan protocol.

    Servers such as uvicorn tell of their end by this protocol, and wait until the worker has
    stopped. The options and errors are those of :func:`start`.
    """
    worker = _start(
        concurrency=concurrency,
        queues=queues,
        exclude=exclude,
        beat=beat,
        stop_timeout=stop_timeout,
    )
    return with_lifespan(application, worker.stop)


def _start(**given: Any) -> EmbeddedWorker:
    global _worker
    places.refuse()
    # These modules need Django's models.
    from .guest import EmbeddedWorker
    from .options import build, refuse_memory

    options = build(**given)
    if _worker is not None and _worker.is_wanted:
        if _worker.options != options:
            raise ValueError(
                "This process has a worker with other options. Call start() once, or stop() that "
                "worker first."
            )
        return _worker
    if reason := places.why_none():
        _log.info("no embedded worker: %s", reason)
    else:
        refuse_memory(options.using)
    _worker = EmbeddedWorker(options)
    if reason:
        return _worker
    if gunicorn.is_master():
        gunicorn.in_each_worker(_worker.begin)
    else:
        _worker.begin()
    return _worker
