"""Which of its queues have jobs, as far as a worker knows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..enqueue.notify import Topic, queue_of
from ..process.wakeup import GUARD_SECONDS
from ..run.claim import ready_queues
from .loop_state import LoopState

# A worker that always finds jobs reads the names of the queues again after this time.
QUEUES_SECONDS = 1.0


class ReadyQueues:
    """Learns the names of queues from notifications and, where they are old, from the database.

    *on_topic* is called for each topic that is not a queue: jobs to promote, commands to execute.
    """

    def __init__(
        self,
        state: LoopState,
        on_topic: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._on_topic = on_topic
        self._clock = clock
        self._names: set[str] = set()
        # Since when the names are believed; the moment of the last read.
        self._read_at = self._asked_at = -math.inf

    def hear(self, topic: str) -> bool:
        """Take a notification; return whether this worker may have new jobs to claim."""
        if topic == Topic.ANY:
            self.read_again()
            return True
        if not self.note(queue_of(topic)):
            return False
        # A queue that was just heard need not be read, but another notification may be lost.
        now = self._clock()
        if now - self._asked_at < GUARD_SECONDS:
            self._read_at = now
        return True

    def note(self, topic: str) -> bool:
        """Note a queue that has jobs; return whether this worker serves it."""
        if topic in (Topic.TIMED, Topic.COMMANDS):
            self._on_topic(topic)
        elif self._state.options.serves(topic):
            self._names.add(topic)
            return True
        return False

    def read_again(self) -> None:
        """Let the next :meth:`names` ask the database."""
        self._read_at = -math.inf

    def names(self) -> list[str]:
        """Return the queues that may have jobs. This costs less than a claim that finds none."""
        now = self._clock()
        if now - self._read_at >= QUEUES_SECONDS:
            self._read_at = self._asked_at = now
            self._names.clear()
            for topic in ready_queues(self._state.using):
                self.note(topic)
        # The options may have changed since a queue was heard.
        return sorted(filter(self._state.options.serves, self._names))
