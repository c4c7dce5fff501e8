"""``@job``: a function becomes a job function."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from ..define import registry
from ..define.call_options import CallKeywords
from ..define.canvas import Chunks, Signature
from ..define.context import JobContext, Request
from ..define.from_celery import body_of, no_attribute
from ..define.options import JobKeywords, JobOptions, unknown_options
from ..define.signature_text import redact_signature
from ..enqueue.insert import rows_of
from ..exceptions import NestedJob
from ..serialization import arguments_problems, type_of
from ..suggest import closest
from .calls import enqueue, enqueue_one
from .in_process import run

if TYPE_CHECKING:
    from typing import Unpack

    from ..define.key_values import Key
    from .in_process import EagerResult
    from .result import AsyncResult

P = ParamSpec("P")
#: What a direct call returns: for ``async def`` a coroutine.
R = TypeVar("R")
#: What the job results in.
T = TypeVar("T")

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class JobFunction(Generic[P, R, T]):
    """A function whose calls can be enqueued. Calling it runs it here and now, as written."""

    __wrapped__: Callable[..., R]

    def __init__(self, function: Callable[..., R], options: JobOptions) -> None:
        functools.update_wrapper(self, function)
        self.options = options
        self.name = options.name or f"{function.__module__}.{function.__name__}"
        self.is_async = inspect.iscoroutinefunction(function)
        if options.atomic and self.is_async:
            raise ImproperlyConfigured(
                f"@job {self.name}: atomic=True needs a plain function: Django's transactions do "
                "not span await. Write def, or leave atomic out."
            )
        self.base_wraps = options.base.__call__ is not JobContext.__call__
        signature = _signature(function)
        parameters = list(signature.parameters.values())
        if options.bind:
            if not parameters or parameters[0].kind not in _POSITIONAL:
                raise ImproperlyConfigured(
                    f"@job {self.name}: bind=True passes the running job first, but the function "
                    "takes no positional argument. Give it one, as in def f(self, ...)."
                )
            parameters = parameters[1:]
        self.call_signature = signature.replace(parameters=parameters)
        #: Names of the parameters that positional arguments fill, in order.
        self.parameters = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
        # How many arguments fit when none is passed by name: spares most calls the full binding.
        simple = all(p.kind in _POSITIONAL for p in parameters)
        required = sum(p.default is p.empty for p in parameters)
        self._fits = range(required, len(parameters) + 1) if simple else range(0)
        for option in ("concurrency_key", "rate_limit_key"):
            self._check_names(option, getattr(options, option))
        if options.schedule is not None:
            self._check_schedule()

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
        """The signature for people: without the defaults of sensitive parameters."""
        return redact_signature(self)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise :class:`TypeError` when the arguments do not fit the signature.

        With ``typing=False`` all fit: the call itself shows what does not.
        """
        if (not kwargs and len(args) in self._fits) or not self.options.typing:
            return
        try:
            self.call_signature.bind(*args, **kwargs)
        except TypeError as error:
            problem = self._unexpected(kwargs) or str(error)
            raise TypeError(f"{self.name}{self.shown_signature}: {problem}") from None

    def _unexpected(self, kwargs: Mapping[str, Any]) -> str:
        """Say which argument has no parameter, if that is so, and which one may be meant."""
        known = self.call_signature.parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            return ""
        for name in kwargs:
            if name not in known:
                near = closest(name, known, 1)
                return f"unexpected argument {name!r}" + (
                    f" (did you mean {near[0]!r}?)" if near else ""
                )
        return ""

    def _check_names(self, option: str, wanted: Key | None) -> None:
        names = () if wanted is None or callable(wanted) else wanted
        for name in names:
            if name not in self.call_signature.parameters:
                raise ImproperlyConfigured(
                    f"@job {self.name}: {option} names {name!r}, which is no parameter. Use some "
                    f"of {', '.join(self.call_signature.parameters)}."
                )

    def _check_schedule(self) -> None:
        entry = self.options.schedule if isinstance(self.options.schedule, Mapping) else {}
        args, kwargs = entry.get("args") or (), entry.get("kwargs") or {}
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            return  # the system checks say what is wrong with an entry
        try:
            self.bind(args, kwargs)
        except TypeError as error:
            raise ImproperlyConfigured(
                f"@job {self.name}: schedule= gives arguments that do not fit ({error}) Write "
                'schedule={"schedule": ..., "args": [...], "kwargs": {...}}.'
            ) from None

    # --- enqueuing ------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]:
        """Enqueue one call, in the caller's transaction."""
        return enqueue_one(self, args, kwargs, {})

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[T]:
        """Enqueue one call with options of its own.

        :class:`~django_jobs.define.call_options.CallKeywords` lists them.
        """
        return enqueue_one(self, *self._pair(args, kwargs), options)

    def delay_many(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        **options: Unpack[CallKeywords],
    ) -> list[AsyncResult[T]]:
        """Enqueue many calls at once: each a tuple of arguments or a dict of keyword arguments.

        All or none are written, with one statement for every few thousand.
        """
        if isinstance(calls, (str, Mapping)) or not isinstance(calls, Iterable):
            raise TypeError(
                f"{self.name}.delay_many() takes a list of calls, each a tuple of arguments or a "
                f"dict of keyword arguments, got {type_of(calls)}."
            )
        pairs: list[tuple[Sequence[Any], Mapping[str, Any]]] = []
        for call in calls:
            if isinstance(call, Mapping):
                pairs.append(((), call))
            elif isinstance(call, (tuple, list)):
                pairs.append((call, {}))
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
        """Run the job here and now, with its retries but without their waits; write no row."""
        return run(rows_of(self, [self._pair(args, kwargs)], options)[0])

    def _pair(self, args: Any, kwargs: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        for problem in arguments_problems(args, kwargs):
            raise TypeError(f"{self.name}: {problem}")
        if not isinstance(args, (list, tuple)):
            args = [] if args is None else list(args)
        return args, kwargs or {}

    # --- calls for later ------------------------------------------------------------------------

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a call to be made later; results of jobs before it come before *args*."""
        return Signature(self.name, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """Return a call to be made later with just these arguments."""
        return Signature(self.name, args, kwargs, immutable=True)

    def signature(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **options: Unpack[CallKeywords],
    ) -> Signature:
        """Return a call to be made later, with options of its own."""
        return Signature(self.name, args, kwargs, options, immutable=immutable)

    def map(self, items: Iterable[Any]) -> Signature:
        """Return one job that calls the function with each of *items*: the list of results."""
        return Signature("django_jobs.map", [self.name, list(items)], immutable=True)

    def starmap(self, items: Iterable[Sequence[Any]]) -> Signature:
        """Return one job that calls the function with the arguments in each of *items*."""
        several = [list(item) for item in items]
        return Signature("django_jobs.starmap", [self.name, several], immutable=True)

    def chunks(self, items: Iterable[Sequence[Any]], n: int) -> Chunks:
        """Return a group of jobs that make *n* of the calls each: a list of lists of results."""
        if n < 1:
            raise ValueError(f"chunks() takes a number of calls, n, of at least 1, got {n}.")
        several = list(items)
        return Chunks(self.starmap(several[at : at + n]) for at in range(0, len(several), n))

    # --- asynchronous twins ---------------------------------------------------------------------

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]:
        """Asynchronous twin of :meth:`delay`."""
        return await sync_to_async(self.delay)(*args, **kwargs)

    async def aapply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[T]:
        """Asynchronous twin of :meth:`apply_async`."""
        return await sync_to_async(self.apply_async)(args, kwargs, **options)

    async def adelay_many(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        **options: Unpack[CallKeywords],
    ) -> list[AsyncResult[T]]:
        """Asynchronous twin of :meth:`delay_many`."""
        return await sync_to_async(self.delay_many)(calls, **options)


@overload
def job(
    function: Callable[P, Coroutine[Any, Any, T]], /
) -> JobFunction[P, Coroutine[Any, Any, T], T]: ...
@overload
def job(function: Callable[P, T], /) -> JobFunction[P, T, T]: ...
@overload
def job(*, bind: Literal[True], **options: Unpack[JobKeywords]) -> _BoundDecorator: ...
@overload
def job(*, bind: Literal[False] = ..., **options: Unpack[JobKeywords]) -> _Decorator: ...
def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a job function: ``@job`` or ``@job(queue="mail", max_retries=5)``.

    :class:`~django_jobs.define.options.JobOptions` lists the options. Raises ``DuplicateJob`` when
    the name is taken, ``TypeError`` for an unknown option and ``ImproperlyConfigured`` for an
    impossible one.
    """
    if function is None:
        return functools.partial(_define, options=options)
    return _define(function, options)


def _define(function: Callable[..., Any], options: Mapping[str, Any]) -> JobFunction[..., Any, Any]:
    function = body_of(function)
    where = _checked(function)
    if unknown := unknown_options(options, JobOptions.__dataclass_fields__):
        raise TypeError(f"@job {where}: {unknown}")
    try:
        checked = JobOptions(**options)
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"@job {where}: {error}") from None
    defined: JobFunction[..., Any, Any] = JobFunction(function, checked)
    registry.register(defined)
    return defined


def _checked(function: Any) -> str:
    """Return the full name of *function*; raise or warn when no worker can find it again."""
    if isinstance(function, type):
        raise TypeError(f"@job decorates a function, got the class {function.__qualname__}.")
    name = getattr(function, "__qualname__", None)
    if not callable(function) or isinstance(function, JobFunction) or name is None:
        raise TypeError(f"@job decorates a function, got {function!r}.")
    where = f"{function.__module__}.{function.__name__}"
    if name.endswith("<lambda>"):
        raise TypeError(f"@job decorates a function with a name, got a lambda in {where}. Use def.")
    outer = name.rpartition(".")[0]
    if outer and not outer.endswith("<locals>"):
        raise TypeError(
            f"@job decorates functions, and {name} is a method: a worker has no object to call it "
            "on. Write a function of the module that does."
        )
    if outer and registry.importing(function.__module__) is None:
        warnings.warn(
            f"@job {where} is defined inside a function that was called after its module's import: "
            "a worker knows it only after that call there. Define it at the top of the module.",
            NestedJob,
            stacklevel=4,
        )
    if function.__module__ == "__main__":
        warnings.warn(
            f"@job {where}: no worker imports the program that you start. Define it in the jobs.py "
            "or tasks.py of an installed app.",
            NestedJob,
            stacklevel=4,
        )
    return where


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature that a call must fit.

    A wrapper with parameters of its own may add or take away arguments, so its own count. One that
    takes ``*args, **kwargs`` passes on what the wrapped function takes.
    """
    own = inspect.signature(function, follow_wrapped=False)
    passes_on = all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.parameters.values())
    return inspect.signature(function) if passes_on else own


if TYPE_CHECKING:
    from typing import Protocol

    class _Decorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, T]], /
        ) -> JobFunction[P, Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(self, function: Callable[P, T], /) -> JobFunction[P, T, T]: ...

    class _BoundDecorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], /
        ) -> JobFunction[P, Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], T], /
        ) -> JobFunction[P, T, T]: ...
