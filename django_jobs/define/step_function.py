"""``@step``: a function that a running job records as a step."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from ..serialization import type_of
from .current import running

P = ParamSpec("P")
T = TypeVar("T")

#: Whether to wait longer after each try (True: from 2 s on), the first wait in seconds, or a
#: function of the number of retries so far and of the error.
Backoff = bool | float | Callable[[int, BaseException], float]

#: The key of the step whose function runs; steps do not nest.
inside: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "django_jobs_step", default=None
)


@dataclasses.dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step runs."""

    #: Its writes to the database of the jobs are committed together with its record.
    atomic: bool = False
    #: How often it is called again after an exception, apart from the retries of the job.
    retries: int = 0
    #: The seconds before each retry: True doubles them from 2 s on, a number is the first wait,
    #: False retries at once, and a function takes the number of retries so far and the exception.
    #: Without a function, no wait is longer than 600 s.
    backoff: Backoff = True
    #: Names of parameters, and of keys of the result, whose values are never shown.
    sensitive: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.atomic, bool):
            raise TypeError(f"A step's atomic must be True or False, got {type_of(self.atomic)}.")
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            shown = self.retries if isinstance(self.retries, int) else type_of(self.retries)
            raise ValueError(f"A step's retries must be an integer of at least 0, got {shown}.")
        number = isinstance(self.backoff, (int, float)) and 0 <= self.backoff < float("inf")
        if not number and not callable(self.backoff):
            raise ValueError(
                "A step's backoff must be True, False, a number of seconds of at least 0, or a "
                f"function of the number of retries and the exception, got {type_of(self.backoff)}."
            )
        names = self.sensitive
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError("A step's sensitive must be a list of names, as sensitive=('pin',).")

    def with_(self, **given: Any) -> StepOptions:
        """Return the options with those that are *given* and not None."""
        changed = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(self, **changed) if changed else self


DEFAULTS = StepOptions()


class StepFunction(Generic[P, T]):
    """A function that is a step when a running job calls it; otherwise it is called as it is.

    The key of the step is the function's own name.
    """

    def __init__(self, function: Callable[P, T], name: str | None, options: StepOptions) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self.options = options
        #: The name of the function in the step's row.
        self.name = name or name_of(function)
        self.is_async = inspect.iscoroutinefunction(function)
        if self.is_async and options.atomic:
            raise ImproperlyConfigured(atomic_needs_plain(self.name))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        context = running.get()
        if context is None or inside.get() is not None:
            return self.__wrapped__(*args, **kwargs)
        call = context._call_step_async if self.is_async else context._call_step
        value: Any = call(self.__wrapped__.__name__, self, args, kwargs, self.options)
        return value  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def step(function: Callable[P, T], /) -> StepFunction[P, T]: ...
@overload
def step(
    *,
    name: str | None = ...,
    atomic: bool = ...,
    retries: int = ...,
    backoff: Backoff = ...,
    sensitive: Sequence[str] = ...,
) -> Callable[[Callable[P, T]], StepFunction[P, T]]: ...
def step(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function a step: ``@step`` or ``@step(retries=3, atomic=True)``.

    A running job that calls it records its result, and a later run of the job gets that result.
    Outside of a job it is called as it is. *name*, by default the function's module and name, is
    compared when the job runs again: give one if the function may move. The options are those of
    :class:`StepOptions`. Raises ``TypeError`` and ``ValueError`` for invalid ones, and
    ``ImproperlyConfigured`` for ``atomic=True`` on an ``async def``.
    """
    checked = StepOptions(**options)
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 255):
        raise ValueError("The name of a @step must be a text of 1 to 255 characters.")
    if function is None:
        return lambda function: _define(function, name, checked)
    return _define(function, name, checked)


def _define(function: Any, name: str | None, options: StepOptions) -> StepFunction[..., Any]:
    if not inspect.isroutine(function):
        raise TypeError(f"@step decorates a function, got {type_of(function)}.")
    return StepFunction(function, name, options)


def options_of(function: Any) -> StepOptions:
    """Return the options of ``@step``, or the defaults."""
    return function.options if isinstance(function, StepFunction) else DEFAULTS


def called(function: Any) -> Any:
    """Return the function to call for a step: without the record that ``@step`` would make."""
    return function.__wrapped__ if isinstance(function, StepFunction) else function


def name_of(function: Any) -> str:
    """Return what a row keeps of a function, to be compared when the job runs again."""
    while isinstance(function, functools.partial):
        function = function.func
    own = getattr(function, "name", None)
    if isinstance(own, str) and hasattr(function, "__wrapped__"):
        return own  # of @step and of @job
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"[:255]


def atomic_needs_plain(name: str) -> str:
    return (
        f"Step {name}: atomic=True needs a plain function: Django's transactions do not span "
        "await. Write def, or leave atomic out."
    )
