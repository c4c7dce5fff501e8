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
from ..db import own_connection
from ..enqueue.notify import Topic
from ..process import native
from ..process.reconnect import Backoff
from ..process.timers import Timer, Timers
from ..process.wakeup import Waker, Wakeup
from .command_router import CommandRouter
from .dispatcher import Dispatcher
from .duties import Duties
from .fork import hear_term
from .inherited import Inherited
from .isolation import dump_stacks_on_usr1
from .leases import LOOK_SECONDS, Leases
from .options import WorkerOptions
from .peers import PEERS_SECONDS, Peers
from .pulse import PULSE_SECONDS
from .shared_slots import SharedSlots
from .thread_guard import die, start

_log = logging.getLogger("django_jobs.worker")

# Seconds.
_JOIN_SECONDS = 5.0
# Answers that come within this time are written together.
_TOGETHER_SECONDS = 0.01


class Coordinator:
    """Two threads have a connection each: *heartbeat* waits for no lock, *duties* may do so.

    *heartbeat* also passes commands on. A third thread reads what the workers say.

    *on_failure* is called after a thread has failed. *clock* returns seconds, as
    :func:`time.monotonic` does.
    """

    def __init__(
        self,
        using: str,
        inherited: Inherited,
        *,
        name: str,
        supervisor_id: UUID | None = None,
        on_failure: Callable[[], object] = die,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """This coordinator wakes the workers of the supervisor with that id; None: they do so."""
        self._using = using
        self._name = name
        self._on_failure = on_failure
        self.waker = Waker()
        self._wakeup = Wakeup(using, self.waker)
        self._listening = Backoff("listening", using)
        self._dispatcher: Dispatcher | None = None
        # The session that listens; another one has taken its place after an error.
        self._session: Any = None
        self.leases = Leases(inherited.roster, using, renew_soon=self.renew_soon, clock=clock)
        self.duties = Duties(using, self.leases)
        self._commands = CommandRouter(
            using, inherited.commands, ask=self._look_for_commands, on_topic=self._hear
        )
        timers = [
            Timer("heartbeat", LOOK_SECONDS, self.leases.renew),
            Timer("control", LOOK_SECONDS, self._pass_on_commands),
        ]
        if supervisor_id is not None:
            peers = Peers(supervisor_id, using)
            self._dispatcher = Dispatcher(
                self._wakeup, inherited.calls, on_topic=self._hear, rank=peers.rank, clock=clock
            )
            timers.append(Timer("peers", PEERS_SECONDS, peers.look, after=1.0))
        self.heartbeat = Timers(timers, using, wait=self._sleep, wake=self.waker.wake)
        self._threads: list[native.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        targets: dict[str, Callable[[], object]] = {
            "heartbeat": functools.partial(run_timers, self.heartbeat),
            "duties": functools.partial(run_timers, self.duties.timers),
            "commands": self._commands.serve,
        }
        self._threads = start(self._name, self._on_failure, targets)

    def stop(self) -> None:
        """Let the threads end soon."""
        self.duties.timers.stop()
        self.heartbeat.stop()
        self._commands.stop()

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
                self._dispatcher.wait(seconds)
            elif self._wakeup.listens:
                for topic in self._wakeup.wait(seconds):
                    self._hear(topic)
            else:
                self.waker.wait(seconds)
        except Error as error:
            self._session = None
            self.waker.wait(min(seconds, self._listening.failed(error)))
        else:
            self._listening.succeeded()

    def _hear(self, topic: str) -> None:
        if topic == Topic.COMMANDS:
            self._look_for_commands()
        elif topic == Topic.TIMED:
            self.duties.look_for_due_jobs()

    def _look_for_commands(self) -> None:
        # The answers of many workers come together.
        self.heartbeat.ask("control", within=_TOGETHER_SECONDS)

    def _pass_on_commands(self) -> float:
        self._commands.run_once()
        # A notification may be lost, and an operator may want to stop a job that runs.
        is_idle = self._wakeup.listens and not self.leases.is_busy and not self._commands.is_waiting
        return 10.0 if is_idle else LOOK_SECONDS

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
) -> tuple[Coordinator, Inherited]:
    """Return the coordinator of a worker without a supervisor, and what both share."""
    inherited, name = Inherited.new(1), options.name_of(0)
    coordinator = Coordinator(
        options.using, inherited, name=name, on_failure=on_failure, clock=clock
    )
    return coordinator, inherited


def run_timers(timers: Timers) -> None:
    """Run *timers* to their end, over a connection of this thread's own."""
    own_connection(timers.using)
    try:
        timers.run()
    finally:
        connections.close_all()


def run_beside(
    name: str, options: WorkerOptions, inherited: Inherited, shared_slots: SharedSlots
) -> int:
    """Be the coordinator's process, beside the workers of a supervisor, until SIGTERM."""
    parent, waker, is_over = os.getppid(), Waker(), False

    def stop(*_: Any) -> None:
        nonlocal is_over
        is_over = True
        waker.wake()

    log.worker_name.set(name)
    dump_stacks_on_usr1()
    using, supervisor_id = options.using, options.supervisor_id
    coordinator = Coordinator(using, inherited, name=name, supervisor_id=supervisor_id)
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
