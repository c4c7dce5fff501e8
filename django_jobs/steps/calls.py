"""A function that runs once in all runs of a job."""

from __future__ import annotations

import datetime
import inspect
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import Error, connections, transaction

from .. import log
from ..backoff import exponential
from ..db import Kind, kind_of
from ..db.attempts import transaction_ended_by
from ..define.hidden_arguments import UNKNOWN, rules_of_callable
from ..define.retry_after import retry_after
from ..define.step_function import StepOptions, atomic_needs_plain, called, inside, name_of
from ..exceptions import ArgumentError, Ignore, Reject, Replaced, Retry, Snooze
from ..failure import describe
from ..log.step_lines import step_retried
from ..moments import seconds
from ..serialization import type_of
from .journal import Journal, journal_of
from .recorded import Recorded, State
from .suspension import Suspension

if TYPE_CHECKING:
    from ..define.context import JobContext

# An atomic step whose transaction meets a conflict is tried this many times.
_CONFLICT_TRIES = 8
# They decide what becomes of the job, so they are no failures of the step.
_STEERING = (Retry, Snooze, Ignore, Reject, Replaced)


def call(
    context: JobContext, key: str, function: Callable[..., Any], args: Sequence[Any],
    kwargs: Mapping[str, Any], options: StepOptions,
) -> Any:  # fmt: skip
    """Return what the step under *key* has recorded, or call *function* and record its result."""
    return _Call(function, args, kwargs, options).run(context, key)


async def call_async(
    context: JobContext, key: str, function: Callable[..., Any], args: Sequence[Any],
    kwargs: Mapping[str, Any], options: StepOptions,
) -> Any:  # fmt: skip
    """Do what :func:`call` does in a coroutine; a plain function runs in a thread."""
    return await _Call(function, args, kwargs, options).run_async(context, key)


class _Call:
    """One use of a step."""

    journal: Journal
    step: Recorded

    def __init__(
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: StepOptions
    ) -> None:
        if not callable(function):
            raise TypeError(f"step() takes a key and a function, got {type_of(function)}.")
        self.name = name_of(function)
        self.function = called(function)
        self.args, self.kwargs = args, kwargs
        self.options = options
        self.is_async = inspect.iscoroutinefunction(self.function)
        if self.is_async and options.atomic:
            raise TypeError(atomic_needs_plain(self.name))

    def run(self, context: JobContext, key: str) -> Any:
        if self._is_over(context, key):
            return self.journal.replay(self.step)
        try:
            if self.options.atomic:
                value = self._run_atomic()
            else:
                value = self.journal.record(self.step, self._value())
        except Exception as error:
            self._fail(error)
            raise
        self.journal.count(self.step, "done")
        return value

    async def run_async(self, context: JobContext, key: str) -> Any:
        if not self.is_async:
            return await sync_to_async(self.run)(context, key)
        if await sync_to_async(self._is_over)(context, key):
            return self.journal.replay(self.step)
        try:
            token = inside.set(self.step.key)
            try:
                value = await self.function(*self.args, **self.kwargs)
            finally:
                inside.reset(token)
            value = await sync_to_async(self.journal.record)(self.step, value)
        except Exception as error:
            await sync_to_async(self._fail)(error)
            raise
        self.journal.count(self.step, "done")
        return value

    def _is_over(self, context: JobContext, key: str) -> bool:
        self.journal = journal_of(context, "step")
        self.step = self.journal.use(key, "call", self.name)
        if self.step.is_over:
            return True
        self.step.began = time.monotonic()
        if self.options.sensitive:
            self.step.data = {"sensitive": list(self.options.sensitive)}
        return False

    def _value(self) -> Any:
        if self.is_async and _in_greenlets():
            raise TypeError(
                f"Step {self.step.key!r} is an async def, and a gevent pool runs none, as its "
                "greenlets share one thread. Write def, or use --pool asyncio."
            )
        token = inside.set(self.step.key)
        try:
            value = self.function(*self.args, **self.kwargs)
            # Also that of a plain function, as a decorator may make of an async def.
            return async_to_sync(_awaited)(value) if inspect.iscoroutine(value) else value
        finally:
            inside.reset(token)

    def _run_atomic(self) -> Any:
        """Call the function in the transaction of the record; repeat both after a conflict.

        A deadlock or a serialization failure has rolled back what the function wrote.
        """
        step, using = self.step, self.journal.store.using
        is_inner = connections[using].in_atomic_block
        before = step.state, step.has_row
        for number in range(_CONFLICT_TRIES):
            try:
                with transaction.atomic(using):
                    value = self._value()
                    if cause := transaction_ended_by(using):
                        raise transaction.TransactionManagementError(
                            f"Step {step.key!r} is atomic, and {cause} ended its transaction "
                            "before its time: what it wrote is not one unit with its record. "
                            "Leave COMMIT and ROLLBACK to atomic()."
                        )
                    return self.journal.record(step, value)
            except BaseException as error:
                step.state, step.has_row = before
                conflict = isinstance(error, Error) and kind_of(error) is Kind.CONFLICT
                if not conflict or is_inner or number == _CONFLICT_TRIES - 1:
                    raise
            # A random wait, so that the transactions in conflict do not meet again.
            time.sleep(random.uniform(0, 0.01 * 2**number))
        raise AssertionError("the last try returns or raises")

    def _fail(self, error: Exception) -> None:
        """Note the failure of the step; suspend the job if the step is to be tried again."""
        if isinstance(error, _STEERING):
            return
        journal, step = self.journal, self.step
        # A job that encrypts its arguments hands them on to its steps.
        own = rules_of_callable(self.function, self.options.sensitive)
        rules = UNKNOWN if journal.encrypts else own
        journal.secret_calls.append((rules, self.args, self.kwargs))
        failure = describe(error, journal.secrets())
        # The function has run, and would return the same again.
        if step.tries >= self.options.retries or isinstance(error, ArgumentError):
            step.failed(failure)
            journal.count(step, "failed")
            journal.failed(step, error)
            return
        delay, run_at = self._wait(error)
        step.failed(failure, State.RETRY)
        journal.count(step, "retried")
        step_retried(journal.job, step.key, failure, delay)
        journal.suspend(Suspension(step, delay=delay, run_at=run_at))

    def _wait(self, error: Exception) -> tuple[float | None, datetime.datetime | None]:
        """Return the seconds to the next try, or its moment."""
        journal, tries, backoff = self.journal, self.step.tries, self.options.backoff
        try:
            asked = retry_after(error)
        except Exception as problem:
            log.retry_after_ignored(journal.job, describe(problem, journal.secrets()))
            asked = None, None
        if asked != (None, None):
            return asked
        if callable(backoff):
            try:
                return seconds(backoff(tries, error), "backoff", least=0.0), None
            except Exception as problem:
                log.backoff_failed(journal.job, describe(problem, journal.secrets()))
                backoff = True
        if backoff is False:
            return 0.0, None
        return exponential(tries, factor=2.0 if backoff is True else float(backoff)), None


def _in_greenlets() -> bool:
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


async def _awaited(coroutine: Any) -> Any:
    return await coroutine
