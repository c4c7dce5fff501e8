"""Steps, sleeps, loops and children: the methods of a running job that record what they did."""

from __future__ import annotations

import datetime
import functools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from asgiref.sync import sync_to_async

from .durable_waits import Waits
from .step_function import Backoff, StepOptions, options_of
from .twins import twin

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    from ..steps.journal import Journal, Store
    from .canvas import Canvas
    from .context import JobContext

T = TypeVar("T")
Row = TypeVar("Row", bound="Model")


def _total(seconds: Any, days: float, hours: float, minutes: float) -> Any:
    """Return the sum of the lengths; a wrong *seconds* as it is, to be refused."""
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return seconds
    return seconds + 86_400 * days + 3_600 * hours + 60 * minutes


def _running(job: Durable) -> JobContext:
    return cast("JobContext", job)


class Durable(Waits):
    """The methods of a running job that record steps.

    A job that runs again, after a crash, a retry or a suspension, gets the recorded result of each
    step and does not repeat it.
    """

    # The steps of this run, from the first one on, and where they are kept.
    journal: Journal | None = None
    step_store: Store | None = None
    # The body has returned or raised.
    has_ended = False

    def step(
        self,
        key: str,
        function: Callable[..., T],
        /,
        *args: Any,
        atomic: bool | None = None,
        retries: int | None = None,
        backoff: Backoff | None = None,
        **kwargs: Any,
    ) -> T:
        """Call *function* with the arguments once, and return its result in every run of the job.

        *key* names the step, in at most 200 characters; a second use in the same run is another
        step, ``key#2``. The result must be JSON; also the first run gets it as JSON gives it back.
        An ``async def`` runs to its end. *atomic*, *retries* and *backoff* are those of
        :class:`~django_jobs.define.step_function.StepOptions`, by default those of ``@step``.

        Raises what *function* raises; ``StepMismatch`` when the job has recorded another function
        under *key*; ``ArgumentError`` for a result that cannot be stored; ``StepError`` outside of
        the running job; ``TypeError`` and ``ValueError`` for invalid arguments.
        """
        options = options_of(function)
        if not (atomic is None and retries is None and backoff is None):
            options = options.with_(atomic=atomic, retries=retries, backoff=backoff)
        value: T = self._call_step(key, function, args, kwargs, options)
        return value

    @overload
    async def astep(
        self, key: str, function: Callable[..., Awaitable[T]], /, *args: Any,
        atomic: bool | None = ..., retries: int | None = ..., backoff: Backoff | None = ...,
        **kwargs: Any,
    ) -> T: ...  # fmt: skip
    @overload
    async def astep(
        self, key: str, function: Callable[..., T], /, *args: Any,
        atomic: bool | None = ..., retries: int | None = ..., backoff: Backoff | None = ...,
        **kwargs: Any,
    ) -> T: ...  # fmt: skip
    async def astep(
        self, key: str, function: Callable[..., Any], /, *args: Any,
        atomic: bool | None = None, retries: int | None = None, backoff: Backoff | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Asynchronous twin of :meth:`step`; it awaits an ``async def`` in this event loop."""
        options = options_of(function).with_(atomic=atomic, retries=retries, backoff=backoff)
        return await self._call_step_async(key, function, args, kwargs, options)

    def sleep(
        self, seconds: float | datetime.timedelta = 0, /, *, days: float = 0, hours: float = 0,
        minutes: float = 0, key: str = "sleep",
    ) -> None:  # fmt: skip
        """Suspend the job for so long: no worker is busy, and no retry is counted.

        *seconds* may be a timedelta; the lengths are added. The job is SCHEDULED meanwhile, and
        then runs again from the top, up to this call. *key* names the step. Raises ``ValueError``
        for an invalid length, and ``StepMismatch`` and ``StepError`` as :meth:`step` does.
        """
        from ..steps.sleeping import sleep

        sleep(_running(self), _total(seconds, days, hours, minutes), key)

    asleep = twin(sleep)

    def sleep_until(self, moment: datetime.datetime, /, *, key: str = "sleep") -> None:
        """Suspend the job until *moment*; a naive one is in the current time zone.

        A moment in the past lets the job go on at once. Otherwise it is as :meth:`sleep`. The
        moment counts with which the first run came here.
        """
        from ..steps.sleeping import sleep_until

        sleep_until(_running(self), moment, key)

    asleep_until = twin(sleep_until)

    def iterate(
        self, key: str, queryset: QuerySet[Row], /, *, batch: int = 500, atomic: bool = False
    ) -> Iterator[list[Row]]:
        """Yield the rows of *queryset* by primary key, in lists of up to *batch*, once in all runs.

        When the loop asks for the next batch, the job keeps its place behind the last one, and
        shows its progress; a later run goes on from there. With *atomic* the body of the loop is a
        transaction, in which that place is kept: an exception or ``break`` rolls the batch back.
        The queue is looked at once a second: if it was paused, the job is suspended until it is
        resumed. Raises as :meth:`step` does, ``ValueError`` for a sliced queryset, and
        ``TypeError`` for rows that are no model objects.
        """
        from ..steps.iteration import iterate

        return iterate(_running(self), key, queryset, batch, atomic)

    async def aiterate(
        self, key: str, queryset: QuerySet[Row], /, *, batch: int = 500
    ) -> AsyncIterator[list[Row]]:
        """Asynchronous twin of :meth:`iterate`, without ``atomic``."""
        begin = functools.partial(self.iterate, key, queryset, batch=batch)
        batches = await sync_to_async(begin)()
        nothing: list[Row] = []
        while rows := await sync_to_async(lambda: next(batches, nothing))():
            yield rows

    def gather(self, canvases: Iterable[Canvas], /, *, key: str = "gather") -> list[Any]:
        """Run signatures and workflows as jobs, all at once; return their results in order.

        The jobs are written in the transaction that suspends this one: it is WAITING, and no worker
        is busy, until all of them have ended. The result of a group is a list. The exception of the
        first that failed is raised here; ``JobRevoked`` if it was revoked. When the attempt fails
        with it, the next attempt runs those that failed once more. Raises ``TypeError`` for other
        values than canvases, and else as :meth:`step` does.
        """
        from ..steps.children import gather

        return gather(_running(self), canvases, key, "gather")

    agather = twin(gather)

    def _call_step(
        self, key: str, function: Callable[..., Any], args: Sequence[Any],
        kwargs: Mapping[str, Any], options: StepOptions,
    ) -> Any:  # fmt: skip
        from ..steps.calls import call

        return call(_running(self), key, function, args, kwargs, options)

    def _call_step_async(
        self, key: str, function: Callable[..., Any], args: Sequence[Any],
        kwargs: Mapping[str, Any], options: StepOptions,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        from ..steps.calls import call_async

        return call_async(_running(self), key, function, args, kwargs, options)
