"""The loop of ``runbeat``: it fires due schedules and sleeps until the next one is due."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import Error, connections

from .. import log
from ..conf import get_settings
from ..db import own_connection, without_deadlock
from ..enqueue.notify import Topic
from ..ids import uuid7
from ..models import Worker
from ..process.presence import Presence, beat_name
from ..process.reconnect import Backoff
from ..process.wakeup import GUARD_SECONDS, Waker, Wakeup
from ..schedules.planning import plan, plan_changed, seconds_until_next
from .fire import fire_due
from .sync import synchronize

_log = logging.getLogger("django_jobs.beat")

# Seconds between two looks of a sleeping beat for changed schedules: on a database without
# notifications, and on SQLite, which notifies of every commit.
_POLL_SECONDS, _LOOK_SECONDS = 1.0, 0.05
# While other transactions hold all due schedules, a beat looks again after such pauses.
_SHORTEST_LOCKED, _LONGEST_LOCKED = 0.005, 0.25


class Beat:
    """Fires schedules until it is stopped; any number of beats may run beside each other."""

    def __init__(
        self,
        using: str,
        *,
        name: str = "",
        worker_id: UUID | None = None,
        on_step: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*on_step* is called after each step, also one that failed for the database's sake.

        *clock* returns seconds, as :func:`time.monotonic` does.
        """
        self.using = using
        self.name = beat_name(name or socket.gethostname())
        self.presence = Presence(
            # A supervisor chooses the id, so that it can end the row when this process dies.
            worker_id or uuid7(),
            self.name,
            using,
            columns=lambda: {"pool": Worker.BEAT, "slots": 0},
            load=lambda: (0, self._fired),
        )
        self.waker = Waker()
        self.wakeup = Wakeup(using, self.waker)
        self.stopping = False
        #: Whether the beat is registered and hears of changed schedules.
        self.is_ready = False
        self._on_step = on_step
        self._clock = clock
        self._parent = os.getppid() if worker_id else None
        self._fired = 0
        self._renew_at = 0.0
        self._changes_at = 0.0
        self._backoff = Backoff("firing schedules", using)
        self._locked_pause = 0.0

    def run(self) -> int:
        """Run until it is stopped, over a connection of its own; return the exit code."""
        with log.working_as(self.name):
            return self._run()

    def _run(self) -> int:
        own_connection(self.using)
        while not self.stopping and not self._is_orphan():
            self.turn()
        self.presence.sign_off()
        connections.close_all()
        return 0

    def run_once(self) -> int:
        """Plan and fire the schedules that are due now; return their number."""
        synchronize(self.using)
        while plan(self.using):
            continue
        plan_changed(self.using)
        fired = 0
        while number := fire_due(self.using):
            fired += number
        return fired

    def stop(self, *_: Any) -> None:
        """End soon; safe as a signal handler."""
        self.stopping = True
        self.waker.wake()

    def step(self) -> float:
        """Do what is due; return the seconds to sleep."""
        if not self.is_ready:
            self._start()
        self.renew()
        planned = plan(self.using) + self._plan_changed()
        pause = seconds_until_next(self.using)
        if pause <= 0:
            return self._fire()
        until_renewal = max(0.0, self._renew_at - self._clock())
        return 0.0 if planned else min(pause, until_renewal)

    def _plan_changed(self) -> int:
        if self._clock() < self._changes_at:
            return 0
        self._changes_at = self._clock() + GUARD_SECONDS
        return plan_changed(self.using)

    def _fire(self) -> float:
        fired = fire_due(self.using)
        self._fired += fired
        if fired:
            self._locked_pause = 0.0
        else:
            # Another beat is firing these schedules, or a person is editing them.
            self._locked_pause = min(_LONGEST_LOCKED, 2 * self._locked_pause or _SHORTEST_LOCKED)
        return self._locked_pause

    def turn(self) -> None:
        """Take a step and sleep; after a database error wait and connect anew."""
        try:
            pause = without_deadlock(self.using, self.step)
            self._on_step()
            self._sleep(pause)
        except Error as error:
            pause = self._backoff.failed(error)
            self.is_ready = False
            self._on_step()
            self.waker.wait(pause)
        else:
            self._backoff.succeeded()

    def _start(self) -> None:
        if not self._renew_at:
            self.register()
        synchronize(self.using)
        self.wakeup.open()
        self.is_ready = True
        _log.info("beat ready name=%s wakeup=%s", self.name, self.wakeup.name)

    # --- sleeping -------------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        """Sleep until the time is over, a schedule was changed, or the beat is to stop."""
        if seconds <= 0:
            return
        end = self._clock() + min(seconds, self._longest_sleep())
        while not self.stopping and (left := end - self._clock()) > 0:
            heard = self.wakeup.wait(left)
            if Topic.ANY in heard:
                # Every commit notifies on SQLite: a busy database must not keep the beat busy.
                self.waker.wait(min(left, _LOOK_SECONDS))
            if Topic.ANY in heard or Topic.SCHEDULES in heard:
                return

    def _longest_sleep(self) -> float:
        return GUARD_SECONDS if self.wakeup.hears else _POLL_SECONDS

    # --- its row --------------------------------------------------------------------------------

    def register(self) -> None:
        """Write the beat's row."""
        self.presence.register()
        self._renew_at = self._clock() + get_settings().heartbeat_seconds

    def renew(self) -> None:
        """Renew the lease, if that is due."""
        if self._clock() < self._renew_at:
            return
        self.presence.renew()
        self._renew_at = self._clock() + get_settings().heartbeat_seconds

    def _is_orphan(self) -> bool:
        return self._parent is not None and os.getppid() != self._parent


def run(using: str, *, name: str = "", on_step: Callable[[], object] = lambda: None) -> int:
    """Run a beat in this process until SIGTERM or SIGINT; return the exit code.

    *on_step* is called after each step.
    """
    beat = Beat(using, name=name, on_step=on_step)
    signal.signal(signal.SIGTERM, beat.stop)
    signal.signal(signal.SIGINT, beat.stop)
    return beat.run()


def run_beside(using: str, name: str, worker_id: UUID, on_step: Callable[[], object]) -> int:
    """Run a beat in a supervisor's child until SIGTERM; *worker_id* is the id of its row."""
    beat = Beat(using, name=name, worker_id=worker_id, on_step=on_step)
    signal.signal(signal.SIGTERM, beat.stop)
    return beat.run()
