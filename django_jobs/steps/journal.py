"""The steps of one running job: what earlier runs have recorded, and what this one uses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol
from uuid import UUID

from ..define.current import running
from ..define.encrypted_calls import encrypts_results
from ..define.sensitive import Call, secrets_of
from ..define.step_function import inside
from ..exceptions import StepError, StepMismatch, Suspended
from ..models.histogram import Steps
from ..redaction import Secrets
from ..serialization import dumps, type_of
from ..values import Claimed
from .recorded import Recorded, State
from .suspension import Suspension, Written

if TYPE_CHECKING:
    from ..define.context import JobContext

#: Most characters of a key that code gives; behind it comes ``#2`` and so on.
MOST_KEY = 200


class Child(NamedTuple):
    """A job that the running one has started; it may not have ended."""

    status: str
    #: Returns its result.
    value: Callable[[], Any]
    #: Returns the exception because of which it has no result.
    error: Callable[[], Exception]


class Store(Protocol):
    """Where the steps of jobs are kept."""

    #: Alias of the database of the jobs.
    using: str

    def load(self, job: Claimed) -> Sequence[Recorded]:
        """Return what earlier runs of a job have recorded."""

    def record(self, job: Claimed, step: Recorded) -> None:
        """Write a step, a new one or again; raises ``JobLost`` when the job is another's."""

    def children(self, ids: Sequence[UUID]) -> dict[UUID, Child]:
        """Return the jobs with these *ids* that exist."""


class Journal:
    """The steps of one running job."""

    def __init__(self, job: Claimed, name: str, store: Store, *, encrypts: bool = False) -> None:
        self.job = job
        self.name = name
        #: Whether rows have the results of the steps encrypted.
        self.encrypts = encrypts
        self.store = store
        self._known = {step.key: step for step in store.load(job)}
        self._uses = Counter[str]()
        self._positions = itertools.count(1)
        #: The end of the run writes them, too: failed steps, and why the job is suspended.
        self.to_write: dict[str, Written] = {}
        self.suspension: Suspension | None = None
        #: The job fails with it, whatever the body does.
        self.error: StepError | None = None
        # The exceptions that steps raised in this run, by key.
        self._raised: dict[str, tuple[Recorded, Exception]] = {}
        #: The outcomes of this run's calls, by the functions of the steps.
        self.counts: dict[str, Steps] = {}
        #: Weak references to the loops over batches.
        self.open: list[weakref.ref[Any]] = []
        #: The loop over atomic batches whose batch was rolled back just now.
        self.left_batch: Recorded | None = None
        #: The calls of the steps that failed: no text may show their hidden arguments.
        self.secret_calls: list[Call] = []

    def use(self, key: str, kind: str, function: str = "") -> Recorded:
        """Return the step under *key*, as an earlier run has recorded it or a new one.

        Raises :class:`StepMismatch` when it was something else.
        """
        _check_key(key)
        self._keep_caught()
        self.left_batch = None
        self._uses[key] += 1
        if self._uses[key] > 1:
            key = f"{key}#{self._uses[key]}"
        position = next(self._positions)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Recorded(key, position, kind, function)
        elif (known.kind, known.function) != (kind, function):
            self.error = StepMismatch(
                f"{self.name} has recorded the {_named(known.kind, known.function)} under the key "
                f"{key!r}, and now its code asks there for the {_named(kind, function)}. Run the "
                "job by the code that began it, give the new step another key, or retry the job "
                "from that step on, which forgets it."
            )
            raise self.error
        known.encrypts = self.encrypts
        return known

    def recorded(self, kind: str, function: str) -> list[Recorded]:
        """Return the steps of that kind and function that are known."""
        wanted = (kind, function)
        return [each for each in self._known.values() if (each.kind, each.function) == wanted]

    def record(self, step: Recorded, value: Any) -> Any:
        """Record *step* as done with *value*; return it as every later run gets it."""
        returned = step.done(value)
        self.write(step)
        return returned

    def write(self, step: Recorded) -> None:
        """Write *step* as it is now; raises ``JobLost`` when the job is another worker's."""
        self.store.record(self.job, step)
        self.to_write.pop(step.key, None)

    def replay(self, step: Recorded) -> Any:
        """Return the result of a step that is over, or raise the exception that the body caught."""
        if step.state == State.CAUGHT:
            self._raised[step.key] = step, step.error()
            raise self._raised[step.key][1]
        return step.value()

    def failed(self, step: Recorded, error: Exception) -> None:
        """Have a FAILED step, which is about to raise *error*, written with the end of the run."""
        self._raised[step.key] = step, error
        self.to_write[step.key] = Written(step)

    def count(self, step: Recorded, outcome: str) -> None:
        """Count a call that is over: it is ``done``, ``failed`` or ``retried``."""
        counts = self.counts.get(step.function)
        if counts is None:
            counts = self.counts[step.function] = Steps()
        setattr(counts, outcome, getattr(counts, outcome) + 1)
        if step.began is not None and step.ended is not None:
            counts.seconds += step.ended - step.began

    def _keep_caught(self) -> None:
        """Write the failures that the body has caught, because it goes on with another step."""
        for written in list(self.to_write.values()):
            if written.step.state == State.FAILED:
                written.step.caught()
                self.write(written.step)

    def end_by(self, error: BaseException) -> None:
        """Let the steps whose exception ended the run be called again in the next one."""
        ending = set(map(id, _chain(error)))
        for step, raised in self._raised.values():
            if step.state == State.CAUGHT and id(raised) in ending:
                step.state = State.FAILED
                self.to_write[step.key] = Written(step)

    def suspend(self, suspension: Suspension) -> NoReturn:
        """End the run here; the job goes on from this step when *suspension* is over."""
        if not suspension.step.state:
            suspension.step.state = State.WAITING
        self.suspension = suspension
        self.to_write[suspension.step.key] = suspension
        raise Suspended(suspension)

    def close(self) -> None:
        """End the loops that the body left open: what their last batch wrote is rolled back."""
        for reference in self.open:
            if (batches := reference()) is not None:
                with contextlib.suppress(Exception):
                    batches.close()
        self.open.clear()

    def secrets(self) -> Secrets:
        """Return the secrets that no text about the job and its failed steps may show."""
        has_taken = not self.job.problem
        return secrets_of(self.job, has_taken=has_taken, calls=self.secret_calls)

    def swallowed(self) -> StepError | None:
        """Return why a body that returned has failed nevertheless, or None."""
        if self.error is None and self.suspension is not None:
            key = self.suspension.step.key
            return StepError(
                f"{self.name} was suspended by the step {key!r}, but its body caught the exception "
                "that does so, and returned. Catch Exception in place of BaseException, or raise "
                "it again."
            )
        return self.error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it came from, or consists of."""
    found: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in found:
            found[id(one)] = one
            left += [one.__cause__, one.__context__, getattr(one, "exc", None)]
            left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            yield one


def journal_of(context: JobContext, verb: str) -> Journal:
    """Return the journal of the running job; raise where *verb* cannot be called."""
    context._refuse_direct(verb)
    if context.has_ended:
        raise StepError(
            f"{verb}() was called after the end of {context.name}, so nothing would read its "
            "record. Call it in the body, and wait there for threads and tasks that call it."
        )
    if running.get() is not context:
        raise StepError(
            f"{verb}() was called in a thread of its own, outside of the run of {context.name}. "
            "Call it in the job's own thread or coroutine, or start the thread with "
            "contextvars.copy_context().run."
        )
    if (outer := inside.get()) is not None:
        raise StepError(
            f"{verb}() was called inside of step {outer!r}, and steps do not nest: a later run "
            "would not call what is inside. Make the calls one after the other in the body."
        )
    if _has_loop():
        raise StepError(
            f"{verb}() was called in a coroutine, whose event loop it would block. "
            f"Write: await self.a{verb}(...)."
        )
    journal = context.journal
    if journal is None:
        if context.claimed is None or context.step_store is None:
            raise StepError(f"{verb}() needs a running job. Enqueue {context.name}, or apply() it.")
        made = Journal(
            context.claimed, context.name, context.step_store, encrypts=encrypts_results(context)
        )
        # Two coroutines may come here at once.
        journal = vars(context).setdefault("journal", made)
    if journal.suspension is not None:
        raise StepError(
            f"{verb}() was called while {context.name} is being suspended by the step "
            f"{journal.suspension.step.key!r}. Let the exception pass, and call no step in "
            "`finally:`, which runs at each suspension."
        )
    return journal


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"The key of a step must be a text, got {type_of(key)}.")
    if not 0 < len(key) <= MOST_KEY:
        raise ValueError(
            f"The key of a step must have 1 to {MOST_KEY} characters, got {len(key)}. Shorten it."
        )
    if key.strip() != key:
        raise ValueError(
            f"The key of a step must not begin or end with white space, got {key!r}: MariaDB takes "
            "'a' and 'a ' for one key. Strip it."
        )
    if not (key.isascii() and key.isprintable()):
        # Characters that a database cannot hold.
        dumps(key, where="the key of a step", max_bytes=6 * MOST_KEY)


def _named(kind: str, function: str) -> str:
    return f"{kind} {function}".rstrip()
