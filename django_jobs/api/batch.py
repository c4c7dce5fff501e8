"""The job function of ``@job(batch_size=...)``, which is given several calls at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured

from ..define.batch import Call
from ..define.options import JobOptions
from .job import JobFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class BatchFunction(JobFunction[P, R, T]):
    """A job function whose body gets a list of :class:`~django_jobs.define.batch.Call`.

    Each call is a job of its own. *P* are the parameters of a call, *R* is what the body returns,
    and *T* is the type of one call's result.
    """

    def __init__(self, function: Callable[..., R], options: JobOptions) -> None:
        super().__init__(function, options)
        try:
            inspect.signature(function).bind([])
        except TypeError:
            raise ImproperlyConfigured(
                f"@job {self.name}: batch_size passes a list of calls, so the function must take "
                "one argument, as in def f(calls: list[Call])."
            ) from None

    if TYPE_CHECKING:

        def __call__(self, calls: list[Call]) -> R: ...  # type: ignore[override]

    def map(self, items: Iterable[Any]) -> NoReturn:
        """Raise ``TypeError``: one job would make many calls, and each call is a job of its own."""
        self._refuse("map")

    def starmap(self, items: Iterable[Sequence[Any]]) -> NoReturn:
        """Raise ``TypeError``, as :meth:`map` does."""
        self._refuse("starmap")

    def chunks(self, items: Iterable[Sequence[Any]], n: int) -> NoReturn:
        """Raise ``TypeError``, as :meth:`map` does."""
        self._refuse("chunks")

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(
            f"{self.name}.{method}() makes one job of many calls, but the calls of a batch are "
            "jobs of their own. Use delay_many(), or group() of signatures."
        )
