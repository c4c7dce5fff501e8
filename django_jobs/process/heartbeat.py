"""A worker's row: it is registered, renewed and signed off."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models.functions import Coalesce

from .. import __version__
from ..conf import get_settings
from ..db import clock
from ..maintenance import rescue
from ..models import Worker
from ..run.release import release_strays


def register(
    worker_id: UUID,
    name: str,
    using: str,
    *,
    pool: str,
    slots: int = 0,
    queues: Sequence[str] = (),
    exclude_queues: Sequence[str] = (),
    quiet: bool = False,
    supervisor_id: UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write the worker's row; its lease starts now, by the database's clock.

    The keywords are columns of :class:`~django_jobs.models.Worker`.
    """
    now = clock(using)
    worker = Worker(
        id=worker_id,
        name=name,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        pool=pool,
        slots=slots,
        queues=list(queues),
        exclude_queues=list(exclude_queues),
        quiet=quiet,
        supervisor_id=supervisor_id,
        details=dict(details or {}),
        version=__version__,
        started_at=now,
        heartbeat_at=now,
        lease_until=clock(using, get_settings().lease_seconds),
    )
    # A first try may have been committed while its answer was lost: the second finds the row.
    Worker.objects.using(using).bulk_create([worker], ignore_conflicts=True)


def beat(worker_id: UUID, using: str, *, busy: int, done: int, stopping: bool = False) -> bool:
    """Renew the lease; return False when other workers took it for dead and have its jobs.

    *busy* is the number of running jobs, *done* the number of those that ended since the worker was
    registered. *stopping* says that it is stopping. An update that arrives after the worker's
    end changes nothing.
    """
    stop = {"stopping_at": Coalesce("stopping_at", clock(using))} if stopping else {}
    changed = (
        Worker.objects.using(using)
        .filter(id=worker_id, lost_at=None, stopped_at=None)
        .update(
            heartbeat_at=clock(using),
            lease_until=clock(using, get_settings().lease_seconds),
            busy=busy,
            jobs_done=done,
            memory_bytes=resident_bytes(),
            **stop,
        )
    )
    return changed == 1


def sign_off(worker_id: UUID, using: str, *, done: int | None = None) -> None:
    """Mark the worker as stopped, and release jobs of a claim whose answer was lost."""
    with rescue.no_more_claims(worker_id, using) as rows:
        release_strays(worker_id, (), using)
        counted = {} if done is None else {"jobs_done": done}
        rows.filter(stopped_at=None).update(
            stopped_at=clock(using), lease_until=clock(using), busy=0, **counted
        )


def resident_bytes() -> int | None:
    """Return the bytes of this process's resident memory, or None where it cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak_bytes()


def _peak_bytes() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
