"""Calls one idle worker for each notification. It runs in the coordinator of a ``runworker``."""

from __future__ import annotations

import math
import selectors
import time
from collections.abc import Callable
from typing import Any

from ..enqueue.notify import Topic, queue_of
from ..process import native
from ..process.wakeup import Wakeup
from ..run.claim import ready_queues
from .dispatch_line import DispatchLine, Link

_NO_QUEUES = frozenset({Topic.COMMANDS, Topic.TIMED, Topic.SCHEDULES})
# A coordinator that is not the first to call a worker looks after this time, once for each one that
# is before it, whether there are still jobs.
STEP_SECONDS, _MOST_STEPS = 0.005, 4
#: Where nothing notifies, each worker may cost one look a second: the longest pause is a second by
#: the number of workers, but not shorter than this.
SHORTEST_IDLE_SECONDS = 0.1


class Caller:
    """A worker as the dispatcher knows it, from its messages."""

    def __init__(self, link: Link) -> None:
        self.link = link
        # None until the worker has said what it serves.
        self._queues: frozenset[str] | None = None
        self._excluded: frozenset[str] = frozenset()
        #: The topic of a call that the worker may not have covered yet.
        self.called: str | None = None
        #: The number of calls so far.
        self.calls = 0

    def serve(self, queues: list[str], excluded: list[str]) -> None:
        self._queues, self._excluded = frozenset(queues), frozenset(excluded)

    def serves(self, queue: str) -> bool:
        return (
            self._queues is not None
            and queue not in self._excluded
            and (not self._queues or queue in self._queues)
        )


class Dispatcher:
    """Passes each notification of ready jobs to one idle worker that serves the queue.

    If none is idle, the first one that becomes idle is called. A call that a worker returns, or
    that it may not have covered when it ended, goes to another worker. *on_topic* is called with
    each topic that is not a queue. *rank* returns how many other dispatchers are to pass a topic on
    before this one. *clock* returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(
        self,
        wakeup: Wakeup,
        line: DispatchLine,
        *,
        on_topic: Callable[[str], None],
        rank: Callable[[str], int] = lambda topic: 0,
        ready_queues: Callable[[str], list[str]] = ready_queues,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wakeup = wakeup
        self._line = line
        self._on_topic = on_topic
        self._rank = rank
        self._ready_queues = ready_queues
        self._clock = clock
        # gevent's has no descriptor, for which the waker waits.
        self._selector = native.original("selectors", "DefaultSelector")()
        self._selector.register(line.fileno(), selectors.EVENT_READ)
        self._callers: set[Caller] = set()
        # The last one fell asleep last. It is called first, because its caches are warm.
        self._idle: dict[Caller, None] = {}
        # By queue, the topics for which no worker was idle.
        self._waiting: dict[str, str] = {}
        # When to look whether other dispatchers have left jobs, if a worker is idle then.
        self._others_until = math.inf
        self._ready: set[str] = set()
        self._look_at = -math.inf

    def open(self) -> None:
        """Listen, and look for jobs at the next :meth:`wait`; called after every reconnect."""
        self._wakeup.open()
        self._look_soon()
        for caller in list(self._callers):
            self._greet(caller)

    def wait(self, seconds: float) -> None:
        """Pass on what comes within so many seconds; return earlier after anything came."""
        pause = max(0.0, min(seconds, self._next_look() - self._clock()))
        # On Linux and on the BSDs a selector is a descriptor itself.
        descriptor: int = self._selector.fileno()
        topics = self._wakeup.wait(pause, also=descriptor)
        # First, who is idle.
        self._read_messages()
        for topic in topics:
            self.hear(topic)
        if self._clock() >= self._next_look():
            self._look()

    def hear(self, topic: str) -> None:
        """Take a notification."""
        if topic == Topic.ANY:
            self._look_soon()
        elif topic in _NO_QUEUES:
            self._on_topic(topic)
        elif steps := min(self._rank(topic), _MOST_STEPS):
            due_at = self._clock() + steps * STEP_SECONDS
            self._others_until = min(self._others_until, due_at)
        else:
            self._call_one(topic)

    def close(self) -> None:
        for caller in list(self._callers):
            caller.link.close()
        self._selector.close()

    def _look_soon(self) -> None:
        """Look at the end of this :meth:`wait`, where an error of the database loses no message."""
        self._look_at = -math.inf

    def _next_look(self) -> float:
        return min(self._look_at, self._others_until) if self._idle else self._look_at

    def _look(self) -> None:
        """Read which queues have jobs, and call a worker for each."""
        found = self._ready_queues(self._wakeup.using)
        ready = set(found)
        if ready != self._ready:
            self._wakeup.found_work()
        self._ready = ready
        self._others_until = math.inf
        self._look_at = self._clock() + self._pause()
        # A worker that was called and has not claimed yet will see the jobs that are there now.
        called = {queue_of(caller.called) for caller in self._callers if caller.called}
        for topic in found:
            if topic in _NO_QUEUES:
                self._on_topic(topic)
            elif topic not in called:
                self._call_one(topic)

    def _pause(self) -> float:
        """Return the seconds to the next look: it polls for all, as often as each would alone."""
        pause = self._wakeup.next_look()
        if self._wakeup.hears:
            return pause
        return min(pause, max(1.0 / max(1, len(self._callers)), SHORTEST_IDLE_SECONDS))

    # --- the choice -----------------------------------------------------------------------------

    def _call_one(self, topic: str) -> None:
        """Call the worker that fell asleep last, of those that serve the queue."""
        queue = queue_of(topic)
        chosen = next((caller for caller in reversed(self._idle) if caller.serves(queue)), None)
        if chosen is not None:
            self._call(chosen, topic)
        elif any(caller.serves(queue) for caller in self._callers):
            # Two notifications become one that tells of any number of jobs.
            self._waiting[queue] = queue if queue in self._waiting else topic

    def _call(self, caller: Caller, topic: str) -> None:
        del self._idle[caller]
        caller.called = topic
        caller.calls += 1
        self._send(caller, topic)

    # --- messages -------------------------------------------------------------------------------

    def _send(self, caller: Caller, message: Any) -> None:
        if not caller.link.send(message):
            self._forget(caller)

    def _greet(self, caller: Caller) -> None:
        # Where the database does not tell of each job, the look after a claim does.
        self._send(caller, not self._wakeup.listens)

    def _read_messages(self) -> None:
        for key, _events in self._selector.select(0):
            if key.data is None:
                self._welcome()
            else:
                self._read(key.data)

    def _welcome(self) -> None:
        for link in self._line.joined():
            caller = Caller(link)
            self._callers.add(caller)
            self._selector.register(link.fileno(), selectors.EVENT_READ, caller)
            self._greet(caller)
            self._read(caller)

    def _read(self, caller: Caller) -> None:
        if caller not in self._callers:
            return  # another message of this look has met its end
        for name, *arguments in caller.link.received():
            _MESSAGES[name](self, caller, *arguments)
        if caller.link.is_over:
            self._forget(caller)

    def _forget(self, caller: Caller) -> None:
        if caller not in self._callers:
            return
        self._callers.discard(caller)
        self._selector.unregister(caller.link.fileno())
        caller.link.close()
        self._idle.pop(caller, None)
        if caller.called is not None:
            # Whether the worker has claimed is not known. If it has, the next one finds nothing.
            self._call_one(queue_of(caller.called))

    def _serves(self, caller: Caller, *what: Any) -> None:
        caller.serve(*what)
        # A notification before this message may have found no worker that serves the queue.
        self._look_soon()

    def _becomes_idle(self, caller: Caller, number: int, full: bool = False) -> None:
        if number != caller.calls or caller not in self._callers:
            return  # it was called in the meantime, and will say so again after that
        caller.called = None
        self._idle.pop(caller, None)
        # One with a free slot is called before one whose slot is about to be free.
        self._idle = {caller: None, **self._idle} if full else {**self._idle, caller: None}
        for queue, topic in self._waiting.items():
            if caller.serves(queue):
                del self._waiting[queue]
                self._call(caller, topic)
                return

    def _becomes_busy(self, caller: Caller) -> None:
        self._idle.pop(caller, None)

    def _returns(self, caller: Caller, topic: str) -> None:
        caller.called = None
        if topic == Topic.ANY:
            self._look_soon()
        else:
            self._call_one(topic)

    def _has_claimed(self, caller: Caller) -> None:
        caller.called = None
        self._look_soon()


_MESSAGES: dict[str, Callable[..., None]] = {
    "serve": Dispatcher._serves,
    "idle": Dispatcher._becomes_idle,
    "busy": Dispatcher._becomes_busy,
    "call": Dispatcher._returns,
    "claimed": Dispatcher._has_claimed,
}
