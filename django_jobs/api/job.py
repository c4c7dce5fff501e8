"""The job function: what ``@job`` makes of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured

from ..define import conversion
from ..define.call_options import CallKeywords
from ..define.call_signature import (
    call_signature,
    check_names,
    check_schedule,
    fitting_numbers,
    positional,
    unexpected,
)
from ..define.canvas import Chunks, Signature
from ..define.context import JobContext
from ..define.current import Request
from ..define.options import JobOptions
from ..define.signature_text import redact_signature
from ..define.twins import twin
from ..enqueue.rows import rows_of
from ..from_celery.tasks import no_attribute
from ..serialization import arguments_problems, type_of
from .calls import enqueue, enqueue_at_commit, enqueue_one
from .eager_result import EagerResult
from .in_process import run

if TYPE_CHECKING:
    from typing import Unpack

    from ..conf import Settings
    from ..values import NewJob
    from .eager_result import EagerResult
    from .result import AsyncResult

P = ParamSpec("P")
#: The type that a direct call returns: for ``async def`` a coroutine.
R = TypeVar("R")
#: The type of the job's result.
T = TypeVar("T")


def _wrap(wrapper: JobFunction[..., Any, Any], function: Callable[..., Any]) -> None:
    functools.update_wrapper(wrapper, function)
    # Decorators such as RQ's set delay() on the function itself, which would hide the method.
    for name in [each for each in vars(wrapper) if each[0] != "_" and hasattr(JobFunction, each)]:
        delattr(wrapper, name)


class JobFunction(Generic[P, R, T]):
    """A function whose calls can be enqueued. Calling it directly runs it as a function."""

    __wrapped__: Callable[..., R]

    def __init__(self, function: Callable[..., R], options: JobOptions) -> None:
        _wrap(self, function)
        self.options = options
        self.name = options.name or f"{function.__module__}.{function.__name__}"
        self.is_async = inspect.iscoroutinefunction(function)
        if options.atomic and self.is_async:
            raise ImproperlyConfigured(
                f"@job {self.name}: atomic=True needs a plain function: Django's transactions do "
                "not span await. Write def, or leave atomic out."
            )
        self.base_wraps = options.base.__call__ is not JobContext.__call__
        #: The signature that a call must fit: without the running job of ``bind=True``.
        self.call_signature = call_signature(function, self.name, options)
        #: The function or the class whose parameters a call fills.
        self.called: Callable[..., Any] = options.call_signature or function
        #: Names of the parameters that positional arguments fill, in order.
        self.parameters = positional(self.call_signature)
        self._fitting = fitting_numbers(self.call_signature)
        #: The settings under which :mod:`~django_jobs.enqueue.rows` makes rows of calls without
        #: options, and the function that makes them.
        self.plain_maker: tuple[Settings | None, Callable[..., NewJob] | None] = (None, None)
        for option in ("concurrency_key", "rate_limit_key", "encrypt"):
            wanted = getattr(options, option)
            check_names(self, option, None if isinstance(wanted, bool) else wanted)
        if options.schedule is not None:
            check_schedule(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.options.bind and not self.base_wraps:
            return self.__wrapped__(*args, **kwargs)
        request = Request(name=self.name, args=list(args), kwargs=dict(kwargs))
        result: R = self.options.base(self, request)(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<job function {self.name}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            raise AttributeError(no_attribute(name), name=name, obj=self)

    @property
    def shown_signature(self) -> str:
        """The signature as a text, without the defaults of sensitive parameters."""
        return redact_signature(self)

    #: The converters of its annotations, or None if JSON keeps all arguments and results.
    argument_types = functools.cached_property(conversion.argument_types)
    result_type = functools.cached_property(conversion.result_type)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise :class:`TypeError` when the arguments do not fit the signature.

        With ``typing=False`` it never raises; the call itself does, in the worker.
        """
        if (not kwargs and len(args) in self._fitting) or not self.options.typing:
            return
        try:
            self.call_signature.bind(*args, **kwargs)
        except TypeError as error:
            problem = unexpected(self.call_signature, kwargs) or str(error)
            raise TypeError(f"{self.name}{self.shown_signature}: {problem}") from None

    # --- enqueuing ------------------------------------------------------------------------------

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]:
        """Enqueue one call, in the caller's transaction, and return the handle on its job.

        The errors are those of :meth:`apply_async`.
        """
        return enqueue_one(self, args, kwargs, {})

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[T]:
        """Enqueue one call with its own options, and return the handle on its job.

        :class:`~django_jobs.define.call_options.CallKeywords` lists the options. Raises
        ``TypeError`` for arguments that do not fit the signature, ``ArgumentError`` for arguments
        that cannot be stored as JSON, ``ValueError`` for an invalid option, ``QueueFull`` and
        ``DuplicateKey``.
        """
        return enqueue_one(self, *self._pair(args, kwargs), options)

    def delay_on_commit(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T] | None:
        """Celery's name for :meth:`delay`, which is part of the transaction; it warns once.

        If the queue is in another database than the open transaction of ``default``, the call is
        enqueued after that commit, and there is no handle: it returns None.
        """
        return enqueue_at_commit(self, args, kwargs, {}, "delay")

    def apply_async_on_commit(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[T] | None:
        """Celery's name for :meth:`apply_async`, as :meth:`delay_on_commit` is for ``delay``."""
        return enqueue_at_commit(self, *self._pair(args, kwargs), options, "apply_async")

    def delay_many(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        **options: Unpack[CallKeywords],
    ) -> list[AsyncResult[T]]:
        """Enqueue many calls: each a tuple of arguments or a dict of keyword arguments.

        All rows are written in one transaction, with one statement for every few thousand. The
        *options* are for every call. The errors are those of :meth:`apply_async`; then no row is
        written.
        """
        if isinstance(calls, (str, Mapping)) or not isinstance(calls, Iterable):
            raise TypeError(
                f"{self.name}.delay_many() takes a list of calls, each a tuple of arguments or a "
                f"dict of keyword arguments, got {type_of(calls)}."
            )
        pairs: list[tuple[Sequence[Any], Mapping[str, Any]]] = []
        for call in calls:
            if isinstance(call, (tuple, list)):
                pairs.append((call, {}))
            elif isinstance(call, Mapping):
                pairs.append(((), call))
            else:
                raise TypeError(
                    f"{self.name}.delay_many() takes tuples of arguments or dicts of keyword "
                    f"arguments, got {type_of(call)}. For one argument write (value,)."
                )
        return enqueue(self, pairs, options)

    def apply(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallKeywords],
    ) -> EagerResult[T]:
        """Run the job in this process, with its retries, but without their waits and a row."""
        return run(rows_of(self, [self._pair(args, kwargs)], options)[0])

    def _pair(self, args: Any, kwargs: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        for problem in arguments_problems(args, kwargs):
            raise TypeError(f"{self.name}: {problem}")
        if not isinstance(args, (list, tuple)):
            args = [] if args is None else list(args)
        return args, kwargs or {}

    # --- calls for later ------------------------------------------------------------------------

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature: a call for a workflow, where earlier results come before *args*."""
        return Signature(self.name, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """Return an immutable signature: it takes no results of earlier jobs."""
        return Signature(self.name, args, kwargs, immutable=True)

    def signature(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **options: Unpack[CallKeywords],
    ) -> Signature:
        """Return a signature with its own options."""
        return Signature(self.name, args, kwargs, options, immutable=immutable)

    def map(self, items: Iterable[Any]) -> Signature:
        """Return one job that calls the function with each of *items*; it returns a list."""
        several = [item for (item,) in conversion.items_of(self, ([item] for item in items))]
        return Signature("django_jobs.map", [self.name, several], immutable=True)

    def starmap(self, items: Iterable[Sequence[Any]]) -> Signature:
        """Return one job that calls the function with the arguments in each of *items*; a list."""
        args = [self.name, conversion.items_of(self, items)]
        return Signature("django_jobs.starmap", args, immutable=True)

    def chunks(self, items: Iterable[Sequence[Any]], n: int) -> Chunks:
        """Return a group of jobs that make *n* calls each; its result is a list of lists."""
        if n < 1:
            raise ValueError(f"chunks() takes a number of calls, n, of at least 1, got {n}.")
        several = list(items)
        return Chunks(self.starmap(several[at : at + n]) for at in range(0, len(several), n))

    # --- asynchronous twins ---------------------------------------------------------------------

    adelay = twin(delay)
    aapply_async = twin(apply_async)
    adelay_many = twin(delay_many)
