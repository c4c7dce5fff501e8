"""One attempt at the jobs of a batch: one body, and for each job its own outcome, hooks and log."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from ..define import registry
from ..define.batch import BatchContext, Call
from ..define.current import Request
from ..define.sensitive import secrets_of
from ..exceptions import BatchError
from ..ids import uuid7
from ..redaction import Secrets
from ..values import Claimed, Outcome
from . import redirect_output
from .attempt import enter, name_in_records, reason_of
from .batch_ends import BatchExecution, Member
from .call import call_batch
from .environment import Environment
from .hooks import is_awaited, is_interrupt, keep_for_later, tell_later
from .outcome import Execution

ConfirmAllAsync = Callable[[Sequence[Outcome]], Awaitable[list[Outcome | None]]]


def execute_batch(jobs: Sequence[Claimed], environment: Environment) -> list[Outcome]:
    """Run one attempt at *jobs*, of one function, in this thread; return how each ended."""
    return contextvars.copy_context().run(_execute, jobs, environment)


def _execute(jobs: Sequence[Claimed], environment: Environment) -> list[Outcome]:
    members = [Member(job, environment) for job in jobs]
    execution = _together(members, environment)
    if execution is not None:
        try:
            # This comes first: if the process dies after it, the jobs count as the cause.
            environment.begins(execution)
            for member in execution.members:
                _begin(member, environment)
            if _let_run(execution):
                call_batch(execution, environment)
        except BaseException as error:
            if environment.is_eager and isinstance(error, KeyboardInterrupt):
                raise
            environment.tidy()
            execution.all_raised(reason_of(error, environment))
        redirect_output.finish(execution.context)
    if awaited := _awaited(members, environment):
        confirm = environment.confirm_all or functools.partial(_one_by_one, environment)
        _tell(awaited, confirm([member.ended for member in awaited]))
    _conclude(members, awaited, environment)
    for member in reversed(members):
        if member.around is not None:
            member.variables.run(member.around.leave, member.ended)
    return [member.ended for member in members]


async def execute_batch_async(
    jobs: Sequence[Claimed],
    environment: Environment,
    call: Callable[[Execution], Awaitable[Any]],
    confirm_all: ConfirmAllAsync,
) -> list[Outcome]:
    """Do as :func:`execute_batch` does in a task of its own; *call* awaits the body."""
    members = [Member(job, environment) for job in jobs]
    execution = _together(members, environment)
    if execution is not None:
        try:
            environment.begins(execution)
            for member in execution.members:
                await _begin_async(member, environment)
            if _let_run(execution):
                await _call(execution, call)
        except BaseException as error:
            execution.all_raised(reason_of(error, environment))
        redirect_output.finish(execution.context)
    if awaited := _awaited(members, environment):
        _tell(awaited, await confirm_all([member.ended for member in awaited]))
    _conclude(members, awaited, environment)
    for member in reversed(members):
        if member.around is not None:
            await _in_context(member, member.around.leave_async(member.ended))
    return [member.ended for member in members]


async def _call(execution: BatchExecution, call: Callable[[Execution], Awaitable[Any]]) -> None:
    try:
        value = await call(execution)
    except BatchError as error:
        execution.partly(error)
    else:
        execution.results(value)


def _together(members: Sequence[Member], environment: Environment) -> BatchExecution | None:
    """Return the attempt at all jobs that can run, and make it the running one; None without."""
    name_in_records(None, environment)
    found = [member.execution for member in members if member.execution is not None]
    if not found:
        return None
    first = found[0]
    jobs = [execution.job for execution in found]
    # No row has its id: nothing that is asked of one job meets the whole batch.
    job = copy.copy(first.job)
    job.id = uuid7()
    # Of the limits of the calls the shortest holds for all.
    hard = _shortest(each.time_limit for each in found)
    soft = _shortest(each.soft_time_limit for each in found)
    execution = BatchExecution(job, first.function, [], {}, hard, soft)
    execution.members = [member for member in members if member.execution is not None]
    request = functools.partial(_request, execution, environment)
    execution.context = BatchContext(first.function, request, jobs)
    secrets = _Secrets(jobs)
    for context in (execution.context, *(each.context for each in found)):
        context.batch_secrets = secrets
    execution.began = time.monotonic()
    enter(execution)
    return execution


class _Secrets:
    """Returns the secrets of all jobs of a batch, and of a result."""

    def __init__(self, jobs: Sequence[Claimed]) -> None:
        self._jobs = jobs

    @functools.cached_property
    def _common(self) -> Secrets:
        return secrets_of(*self._jobs, has_taken=True)

    def __call__(self, result: Any) -> Secrets:
        if result is None:
            return self._common
        return secrets_of(*self._jobs, has_taken=True, result=result)


def _request(execution: BatchExecution, environment: Environment) -> Request:
    job = execution.job
    return Request(
        name=job.name,
        args=execution.args,
        queue=job.queue,
        priority=job.priority,
        worker=environment.worker_name,
        called_directly=False,
        is_eager=environment.is_eager,
        time_limit=execution.time_limit,
        soft_time_limit=execution.soft_time_limit,
    )


def _shortest(limits: Iterable[float | None]) -> float | None:
    return min((limit for limit in limits if limit), default=None)


def _begin(member: Member, environment: Environment) -> None:
    """Enter the middleware and call the hooks; if that raises, the job is not in the batch."""
    try:
        if member.around is not None:
            member.variables.run(member.around.enter)
        member.start()
    except BaseException as error:
        if is_interrupt(error):
            raise
        member.raised(reason_of(error, environment))


async def _begin_async(member: Member, environment: Environment) -> None:
    try:
        if member.around is not None:
            await _in_context(member, member.around.enter_async())
        member.start()
    except BaseException as error:
        member.raised(reason_of(error, environment))


async def _in_context(member: Member, coroutine: Coroutine[Any, Any, None]) -> None:
    """Await *coroutine* with the variables of the member."""
    await asyncio.get_running_loop().create_task(coroutine, context=member.variables)


def _let_run(execution: BatchExecution) -> bool:
    """Give the body the calls that are left; return whether there are any."""
    execution.members = [member for member in execution.members if member.outcome is None]
    calls = [Call.of(member.context) for member in execution.members]
    execution.args = [calls]
    execution.context.request.args = execution.args
    return bool(calls)


def _awaited(members: Sequence[Member], environment: Environment) -> list[Member]:
    """Return the members to whose records the slot waits: all if it waits for one."""
    if environment.confirm is None:
        return []
    unrecorded = [member for member in members if not member.ended.recorded]
    # Until the record a crash ends them as lost, so that they never run again.
    function = registry.find(members[0].job.name)
    at_most_once = function is not None and not function.options.acks_late
    if at_most_once or any(is_awaited(member.ended) for member in unrecorded):
        return unrecorded
    return []


def _one_by_one(environment: Environment, outcomes: Sequence[Outcome]) -> list[Outcome | None]:
    assert environment.confirm is not None
    return [environment.confirm(outcome) for outcome in outcomes]


def _tell(members: Sequence[Member], recorded: Sequence[Outcome | None]) -> None:
    for member, outcome in zip(members, recorded, strict=True):
        if outcome is not None:
            tell_later(outcome, member.variables)


def _conclude(
    members: Sequence[Member], awaited: Sequence[Member], environment: Environment
) -> None:
    """Tell of the ends that are recorded already; keep what is needed to tell of the others."""
    waited_for = set(map(id, awaited))
    for member in members:
        outcome = member.ended
        if environment.confirm is None or outcome.recorded:
            tell_later(outcome, member.variables)
        elif id(member) not in waited_for and member.execution is not None:
            redirect_output.finish(member.execution.context)
        member.variables.run(keep_for_later, outcome)
