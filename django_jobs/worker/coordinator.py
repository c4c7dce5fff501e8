"""The coordinator of a host: it renews its workers' leases and does the duties of all of them.

With a supervisor it is a process beside the workers. A worker without one has it in threads.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import Error, connections

from .. import log
from ..control.commands import addressed
from ..db import own_connection
from ..enqueue.notify import Topic
from ..process import native
from ..process.reconnect import Backoff
from ..process.timers import Timer, Timers
from ..process.wakeup import Waker, Wakeup
from .dispatch_line import DispatchLine
from .dispatcher import Dispatcher
from .duties import Duties
from .fork import hear_term
from .isolation import dump_stacks_on_usr1
from .leases import LOOK_SECONDS, Leases
from .options import WorkerOptions
from .peers import PEERS_SECONDS, Peers
from .pulse import PULSE_SECONDS
from .roster import Place, Roster
from .shared_slots import SharedSlots
from .thread_guard import die, start

_log = logging.getLogger("django_jobs.worker")

# Seconds.
_JOIN_SECONDS = 5.0


class Coordinator:
    """Two threads, each with a connection: *heartbeat* waits for no lock, *duties* may do so.

    *on_failure* is called after a thread has failed. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(
        self,
        using: str,
        roster: Roster,
        *,
        name: str,
        line: DispatchLine | None = None,
        supervisor_id: UUID | None = None,
        on_failure: Callable[[], object] = die,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*line* leads to the workers of the supervisor with that id, which this coordinator wakes.

        Without them a worker wakes itself.
        """
        self._using = using
        self._name = name
        self._on_failure = on_failure
        self.waker = Waker()
        self._wakeup = Wakeup(using, self.waker)
        self._listening = Backoff("listening", using)
        self._dispatcher: Dispatcher | None = None
        self._has_commands = False
        # The session that listens; another one has taken its place after an error.
        self._session: Any = None
        self.leases = Leases(roster, using, renew_soon=self.renew_soon, clock=clock)
        self.duties = Duties(using, self.leases)
        timers = [Timer("heartbeat", LOOK_SECONDS, self.leases.renew)]
        if line is not None and supervisor_id is not None:
            peers = Peers(supervisor_id, using)
            self._dispatcher = Dispatcher(
                self._wakeup, line, on_topic=self._hear, rank=peers.rank, clock=clock
            )
            timers.append(Timer("peers", PEERS_SECONDS, peers.look, after=1.0))
        self.heartbeat = Timers(timers, using, wait=self._sleep, wake=self.waker.wake)
        self._threads: list[native.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        targets = {"heartbeat": self.heartbeat, "duties": self.duties.timers}
        self._threads = start(
            self._name,
            self._on_failure,
            {name: functools.partial(run_timers, timers) for name, timers in targets.items()},
        )

    def stop(self) -> None:
        """Let the threads end soon."""
        self.duties.timers.stop()
        self.heartbeat.stop()

    def join(self) -> None:
        """Wait for the threads, but not for a duty that waits for a lock: it may end half-way."""
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        if not any(thread.is_alive() for thread in self._threads):
            self.waker.close()

    def renew_soon(self) -> None:
        """Renew all leases at once; safe from any thread."""
        self.leases.all_are_due = True
        self.heartbeat.ask("heartbeat")

    def _sleep(self, seconds: float) -> None:
        """Sleep until the next heartbeat, a notification or a call of the waker."""
        try:
            if self._session is None or self._session is not connections[self._using].connection:
                self._listen()
            if self._dispatcher is not None:
                self._dispatch(self._dispatcher, seconds)
            elif self._wakeup.listens:
                for topic in self._wakeup.wait(seconds):
                    self.duties.hear(topic)
            else:
                self.waker.wait(seconds)
        except Error as error:
            self._session = None
            self.waker.wait(min(seconds, self._listening.failed(error)))
        else:
            self._listening.succeeded()

    def _dispatch(self, dispatcher: Dispatcher, seconds: float) -> None:
        dispatcher.wait(seconds)
        if self._has_commands:
            dispatcher.pass_on(Topic.COMMANDS, addressed(self._using))
            self._has_commands = False

    def _hear(self, topic: str) -> None:
        if topic == Topic.COMMANDS:
            self._has_commands = True
        else:
            self.duties.hear(topic)

    def _listen(self) -> None:
        if self._dispatcher is None:
            self._wakeup.open()
        else:
            self._dispatcher.open()
            if self._session is None:
                name, wakeup = self._name, self._wakeup.name
                _log.info("coordinator ready name=%s wakeup=%s", name, wakeup)
        self._session = connections[self._using].connection
        self.duties.listens = self._wakeup.listens


def of_one(
    options: WorkerOptions, on_failure: Callable[[], object], clock: Callable[[], float]
) -> tuple[Coordinator, Place]:
    """Return the coordinator of a worker without a supervisor, and that worker's entry."""
    roster, name = Roster(1), options.name_of(0)
    coordinator = Coordinator(options.using, roster, name=name, on_failure=on_failure, clock=clock)
    return coordinator, roster.place(0)


def run_timers(timers: Timers) -> None:
    """Run *timers* to their end, over a connection of this thread's own."""
    own_connection(timers.using)
    try:
        timers.run()
    finally:
        connections.close_all()


def run_beside(
    name: str,
    options: WorkerOptions,
    roster: Roster,
    line: DispatchLine,
    shared_slots: SharedSlots,
) -> int:
    """Be the coordinator's process, beside the workers of a supervisor, until SIGTERM."""
    parent, waker, is_over = os.getppid(), Waker(), False

    def stop(*_: Any) -> None:
        nonlocal is_over
        is_over = True
        waker.wake()

    log.worker_name.set(name)
    dump_stacks_on_usr1()
    coordinator = Coordinator(
        options.using, roster, name=name, line=line, supervisor_id=options.supervisor_id
    )
    coordinator.start()
    hear_term(stop)
    rounds = -1
    while not is_over:
        shared_slots.pulse = now = time.monotonic()
        if coordinator.heartbeat.rounds != rounds:
            rounds, shared_slots.stepped = coordinator.heartbeat.rounds, now
        waker.wait(PULSE_SECONDS)
        if os.getppid() != parent:
            os._exit(1)  # the supervisor is gone
    coordinator.stop()
    coordinator.join()
    return 0
