"""The sleep of a worker that its coordinator wakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..enqueue.notify import Topic, is_of_one_job, queue_of
from ..process.wakeup import Waker, Wakeup
from ..values import Claimed
from .dispatch_line import DispatchLine, Link
from .inherited import Inherited
from .options import WorkerOptions

#: Seconds between two looks of an idle worker that only guard against a lost call.
LONGEST_SECONDS = 30.0
#: The same while no coordinator answers.
AWAY_SECONDS = 1.0
_BUSY: list[object] = ["busy"]


def wakeup_of(options: WorkerOptions, waker: Waker, inherited: Inherited | None) -> Wakeup:
    """Return the sleep of a worker; without a supervisor it hears for itself."""
    if inherited is None:
        return Wakeup(options.using, waker)
    return DispatchedWakeup(waker, inherited.calls, options)


class DispatchedWakeup(Wakeup):
    """Sleeps until the coordinator calls: then this worker alone has to look at a queue.

    A *call* is the topic of a notification. A claim covers it that began later and left no job to
    others. The worker returns a call that it cannot cover, and the coordinator calls another one.
    So from the notification to such a claim there is a call: it waits in the coordinator, is on its
    way, or is held by a worker that will claim.

    The worker says that it is idle, or that a slot is about to be free, and is called at most once
    for that. It adds how many calls it has received: the coordinator ignores what was said before
    the last call arrived. All messages of a worker go over one socket, which keeps their order.
    """

    hears_alone = True

    def __init__(self, waker: Waker, line: DispatchLine, options: WorkerOptions) -> None:
        super().__init__(options.using, waker)
        self._line = line
        self._options = options
        self._link: Link | None = None
        # Whether the coordinator has answered, and whether it wants to hear of each claim.
        self._is_led = self._reports = False
        self._said_options = False
        # The last message that says whether it is idle.
        self._said = _BUSY
        self._number = 0
        self._calls: list[str] = []
        # The worker claims until it leaves no job; others were called to do so, too.
        self._goes_on = False

    @property
    def hears(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return "coordinator"

    def open(self) -> None:
        self.listens = True

    def serve(self, options: WorkerOptions) -> None:
        """Say to the coordinator before the next sleep what this worker serves."""
        self._options = options
        self._said_options = False

    def next_look(self) -> float:
        return LONGEST_SECONDS if self._is_led else AWAY_SECONDS

    def wait(
        self, seconds: float, *, idle: bool = False, full: bool = False, also: int | None = None
    ) -> list[str]:
        """Sleep at most *seconds*; return the calls."""
        self._join()
        self._say(idle, full)
        descriptor = None if self._link is None else self._link.fileno()
        longest = seconds if self._is_led else min(seconds, AWAY_SECONDS)
        called, readable = self.waker.wait(longest, descriptor)
        heard = self._received() if readable else []
        if not idle:
            # The call came for what the worker said before it got jobs.
            self._return_calls()
            return []
        if longest < seconds and not called and not self._is_led:
            return [Topic.ANY]
        return heard

    def claimed(self, jobs: Sequence[Claimed], want: int, *, locked: bool) -> bool:
        """Cover the calls, or let the coordinator call other workers for the jobs that are left.

        Returns whether there is a call for each job that is left.
        """
        if locked and not jobs:
            return False  # the worker looks again soon
        calls, self._calls = self._calls, []
        if jobs and self._reports:
            self._send(["claimed"])
        if len(jobs) < want and not locked:
            self._goes_on = False
            return True
        of_one = bool(calls) and all(map(is_of_one_job, calls)) and not locked
        # The claim may have preferred jobs of other queues.
        taken = Counter(job.queue for job in jobs)
        taken.subtract(map(queue_of, calls))
        left = [topic for topic in calls if not is_of_one_job(topic) or taken[queue_of(topic)] < 0]
        if not (calls or self._goes_on):
            left.append(Topic.ANY)
        for topic in left:
            if not self._reports:
                self._send(["call", topic])
        self._goes_on = self._goes_on or not of_one
        return not self._goes_on

    # --- the link -------------------------------------------------------------------------------

    def _join(self) -> None:
        if self._link is not None:
            if not self._link.is_over:
                return
            self._link.close()
        self._link = self._line.join()
        self._is_led = self._said_options = False
        self._said = _BUSY
        self._number = 0

    def _say(self, idle: bool, full: bool) -> None:
        if not idle:
            self._return_calls()
        if not self._said_options:
            self._said_options = True
            options = self._options
            queues = [list(options.queues), list(options.exclude_queues)]
            self._send(["serve", *queues])
        says: list[object] = ["idle", self._number, *[True] * full] if idle else _BUSY
        if says != self._said:
            self._said = says
            self._send(says)

    def _received(self) -> list[str]:
        heard: list[str] = []
        for message in () if self._link is None else self._link.received():
            if isinstance(message, bool):
                self._is_led, self._reports = True, message
                continue
            self._said = _BUSY
            self._number += 1
            heard.append(message)
        self._calls += heard
        return heard

    def _return_calls(self) -> None:
        calls, self._calls = self._calls, []
        for topic in calls:
            self._send(["call", topic])

    def _send(self, message: list[object]) -> None:
        if self._link is not None:
            self._link.send(message)
