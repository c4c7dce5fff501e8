"""What a running job can do once and for all: its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from .step_function import Backoff, StepOptions, options_of

if TYPE_CHECKING:
    from ..steps.journal import Journal, Store
    from .context import JobContext

T = TypeVar("T")


def _running(job: Durable) -> JobContext:
    return cast("JobContext", job)


class Durable:
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
        options = options_of(function).with_(atomic=atomic, retries=retries, backoff=backoff)
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
