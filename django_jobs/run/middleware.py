"""The context managers of the setting ``MIDDLEWARE``, around the hooks and the body of attempts."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .. import log
from ..conf import get_settings
from ..define import instrumentation
from ..define.context import JobContext, JobOutcome
from ..define.current import running
from ..define.dotted_paths import import_problem
from ..enqueue.instrumented import Harmless
from ..failure import describe
from ..redaction import Secrets
from ..serialization import type_of
from ..values import Outcome
from .outside_body import hidden

if TYPE_CHECKING:
    from .outcome import Execution

#: It takes the running job and returns a context manager: a sync one, an async one, or both in one.
Factory = Callable[[JobContext], Any]


def middleware() -> tuple[tuple[str, Factory], ...]:
    """Return the paths and the callables around attempts: instrumentation, then ``MIDDLEWARE``.

    Raises ``ImproperlyConfigured`` when one cannot be imported or called.
    """
    paths = get_settings().middleware
    own = tuple(
        (each.path, functools.partial(_harmless, each)) for each in instrumentation.instrumentations
    )
    return own + (_imported(tuple(paths)) if paths else ())


def _harmless(each: instrumentation.Instrumentation, job: JobContext) -> Harmless:
    request = job.request
    make = functools.partial(each.attempt, job)
    hidden = functools.partial(Secrets, [request.args, request.kwargs, request.headers])
    return Harmless(each.path, make, hidden)


@functools.cache
def _imported(paths: tuple[str, ...]) -> tuple[tuple[str, Factory], ...]:
    if problem := next(filter(None, map(middleware_problem, paths)), ""):
        raise ImproperlyConfigured(problem)
    return tuple((path, import_string(path)) for path in paths)


setting_changed.connect(lambda **_: _imported.cache_clear(), weak=False)


def middleware_problem(path: object) -> str:
    """Return why *path*, an element of ``MIDDLEWARE``, cannot be used, or an empty text."""
    if problem := import_problem("MIDDLEWARE", path):
        return problem
    try:
        inspect.signature(import_string(str(path))).bind(None)
    except TypeError:
        return f"MIDDLEWARE names {path!r}, which does not take one argument, the running job."
    except ValueError:  # it is written in C and says nothing of its arguments
        pass
    return ""


class Around:
    """The middleware of one attempt: entered in order, left in the reverse order."""

    def __init__(self, execution: Execution, factories: tuple[tuple[str, Factory], ...]) -> None:
        #: The exception of the body, or of a manager that was entered.
        self.error: BaseException | None = None
        self._execution = execution
        self._factories = factories
        self._entered: list[tuple[str, Any]] = []
        # For async managers around plain functions: an event loop and its context variables.
        self._runner: asyncio.Runner | None = None
        self._variables: contextvars.Context | None = None

    def enter(self) -> None:
        for path, manager in self._managers():
            if hasattr(type(manager), "__enter__"):
                manager.__enter__()
            else:
                self._run(manager.__aenter__())
            self._entered.append((path, manager))

    async def enter_async(self) -> None:
        for path, manager in self._managers():
            if hasattr(type(manager), "__aenter__"):
                await manager.__aenter__()
            else:
                manager.__enter__()
            self._entered.append((path, manager))

    def leave(self, outcome: Outcome) -> None:
        """Leave the managers. An error is logged, and the others are left all the same."""
        how = self._ends_with(outcome)
        while self._entered:
            path, manager = self._entered.pop()
            try:
                if hasattr(type(manager), "__exit__"):
                    manager.__exit__(*how)
                else:
                    self._run(manager.__aexit__(*how))
            except BaseException as error:
                self._failed(path, error)
        if self._runner is not None:
            try:
                self._runner.close()
            except BaseException as error:  # a task that a manager has left raised SystemExit
                self._failed("its event loop", error)
        self.error = None

    async def leave_async(self, outcome: Outcome) -> None:
        """Do as :meth:`leave` does, in a coroutine."""
        how = self._ends_with(outcome)
        while self._entered:
            path, manager = self._entered.pop()
            try:
                if hasattr(type(manager), "__aexit__"):
                    await manager.__aexit__(*how)
                else:
                    manager.__exit__(*how)
            except BaseException as error:
                self._failed(path, error)
        self.error = None

    def _managers(self) -> Iterator[tuple[str, Any]]:
        for path, factory in self._factories:
            manager = factory(self._execution.context)
            kind = type(manager)
            if not (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")):
                raise TypeError(
                    f"{path}, which MIDDLEWARE names, must return a context manager, got "
                    f"{type_of(manager)}. Decorate it with @contextlib.contextmanager."
                )
            yield path, manager

    def _ends_with(self, outcome: Outcome) -> tuple[Any, Any, Any]:
        error = self.error
        result = outcome.value if error is None else None
        status, failure = str(outcome.status), outcome.failure
        self._execution.context.outcome = JobOutcome(status, result, error, failure)
        return (None, None, None) if error is None else (type(error), error, error.__traceback__)

    def _failed(self, path: str, error: BaseException) -> None:
        if error is self.error:
            return  # as a manager may, it raised again what it was given
        context = running.get()
        if isinstance(error, KeyboardInterrupt) and context and context.request.is_eager:
            raise error
        job = self._execution.job
        log.middleware_failed(path, job, describe(error, hidden(job)))

    def _run(self, coroutine: Any) -> None:
        """Await *coroutine* in an event loop, and take over the variables that it sets.

        Entering and leaving share the loop and the context: a variable is reset where it was set.
        """
        if self._runner is None:
            self._runner, self._variables = asyncio.Runner(), contextvars.copy_context()
        assert self._variables is not None
        self._runner.run(coroutine, context=self._variables)
        for variable, value in self._variables.items():
            if variable.get(None) is not value:
                variable.set(value)
