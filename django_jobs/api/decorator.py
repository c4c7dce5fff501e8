"""``@job``: a function becomes a job function."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from ..define import registry
from ..define.job_defaults import with_defaults
from ..define.option_problems import unknown_options
from ..define.options import JobKeywords, JobOptions
from ..exceptions import NestedJob
from ..from_celery.tasks import body_of
from .batch import BatchFunction
from .job import JobFunction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from ..define.batch import Call

P = ParamSpec("P")
#: The type of the job's result.
T = TypeVar("T")


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
@overload
def job(
    *,
    batch_size: int,
    batch_seconds: float | None = ...,
    call_signature: Callable[P, Any],
    **options: Unpack[JobKeywords],
) -> _BatchDecorator[P]: ...
@overload
def job(
    *, batch_size: int, batch_seconds: float | None = ..., **options: Unpack[JobKeywords]
) -> _BatchDecorator[...]: ...
def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a job function: ``@job`` or ``@job(queue="mail", max_retries=5)``.

    :class:`~django_jobs.define.options.JobOptions` lists the options, their units and defaults.
    Raises ``DuplicateJob`` when another job function has the name, ``TypeError`` for an unknown
    option and ``ImproperlyConfigured`` for an invalid one. Warns with ``NestedJob`` when workers
    may not find the function.
    """
    if function is None:
        return functools.partial(_define, options=options)
    return _define(function, options)


def _define(function: Callable[..., Any], options: Mapping[str, Any]) -> JobFunction[..., Any, Any]:
    function = body_of(function)
    where = _checked(function)
    if unknown := unknown_options(options, JobOptions.__dataclass_fields__):
        raise TypeError(f"@job {where}: {unknown}")
    checked = with_defaults(options.get("name") or where, options)
    kind = JobFunction if checked.batch_size is None else BatchFunction
    defined: JobFunction[..., Any, Any] = kind(function, checked)
    registry.register(defined)
    return defined


def _checked(function: Any) -> str:
    """Return the full name of *function*; raise or warn when workers cannot find it."""
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


if TYPE_CHECKING:
    from typing import Protocol

    class _Decorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, T]], /
        ) -> JobFunction[P, Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(self, function: Callable[P, T], /) -> JobFunction[P, T, T]: ...

    class _BatchDecorator(Protocol[P]):
        @overload
        def __call__(
            self, function: Callable[[list[Call]], Coroutine[Any, Any, Sequence[T]]], /
        ) -> BatchFunction[P, Coroutine[Any, Any, Sequence[T]], T]: ...
        @overload
        def __call__(
            self, function: Callable[[list[Call]], Coroutine[Any, Any, None]], /
        ) -> BatchFunction[P, Coroutine[Any, Any, None], None]: ...
        @overload
        def __call__(
            self, function: Callable[[list[Call]], Sequence[T]], /
        ) -> BatchFunction[P, Sequence[T], T]: ...
        @overload
        def __call__(
            self, function: Callable[[list[Call]], None], /
        ) -> BatchFunction[P, None, None]: ...

    class _BoundDecorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], /
        ) -> JobFunction[P, Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], T], /
        ) -> JobFunction[P, T, T]: ...
