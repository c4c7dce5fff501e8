"""Gives back what a dead worker process left, in a process of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from uuid import UUID

from django.db import Error

from .. import log
from ..dialects import is_away, own_connection
from ..maintenance import rescue
from .fork import hear_term
from .keeper import drop_connection, longer

#: How long it tries, and the supervisor's end waits for it.
BURIAL_SECONDS = 10.0


def settle(
    worker_id: UUID,
    running: Mapping[tuple[UUID, int], BaseException | None],
    using: str,
    cold: bool,
) -> int:
    """Run :func:`rescue.bury`; return the exit code.

    A slow database or a hook must not hold the supervisor up.
    """
    hear_term(signal.SIG_IGN)
    own_connection(using)
    pause, deadline = 0.0, time.monotonic() + BURIAL_SECONDS
    while time.monotonic() < deadline:
        try:
            rescue.bury(worker_id, running, using, cold=cold)
            return 0
        except Error as error:
            pause = min(2.0, longer(pause))
            log.failed("giving a dead worker's jobs back", error, pause, away=is_away(error))
            drop_connection(using)
            time.sleep(pause)
    return 1
