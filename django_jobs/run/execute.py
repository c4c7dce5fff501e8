"""One attempt at a job: resolve, bind, call under its limits, classify.

Nothing here writes to the job's row; the :class:`~django_jobs.values.Outcome` is a value.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import decimal
import random
import time
import types
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from django.db import Error, connections, transaction

from .. import log, serialization, signals
from ..db import Kind, kind_of, refusing_database
from ..db.session import transaction_ended_by
from ..define import registry
from ..define.context import JobContext
from ..define.current import Request, running
from ..define.hidden_arguments import CALLERS
from ..define.row_options import CallOptions, json_type
from ..exceptions import (
    ArgumentError,
    TransactionLeftOpen,
    TransactionLost,
    UnknownJob,
    WorkerLost,
    WorkerStopping,
)
from ..failure import describe
from ..status import ENDED, Status
from ..values import Claimed, Outcome
from . import forks, redirect_output
from .outcome import Execution, crashed, expired, hidden, not_here, raised, returned, unrunnable
from .time_limits import run_limited

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..define.options import JobOptions

# How often the transaction of an atomic job is tried that meets a conflict each time.
_CONFLICT_TRIES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Environment:
    """What a pool lends to the jobs that it runs."""

    worker_name: str = ""
    using: str = "default"
    #: Takes what a running job shows of its progress.
    report: Callable[[JobContext, dict[str, Any]], None] | None = None
    #: Raises SoftTimeLimitExceeded in the body after so many seconds, where the pool can.
    soft_limit: Callable[[float], AbstractContextManager[None]] | None = None
    #: Entered around the body, where a stop may raise WorkerStopping in it.
    stoppable: AbstractContextManager[None] | None = None
    #: Time limits of jobs that have none of their own.
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: Hard and soft limits that an operator gave job functions, by their names.
    time_limits: Mapping[str, tuple[float | None, float | None]] = dataclasses.field(
        default_factory=dict
    )
    #: Tells why this pool cannot hold a job to its time limits, or None when it can.
    unable: Callable[[Request, JobFunction[..., Any, Any]], str | None] | None = None
    #: Told of the job and its hard limit before anything of it runs.
    begins: Callable[[Execution], None] = lambda execution: None
    #: Writes an atomic job's SUCCESS in the body's transaction; False when the job is not ours.
    commit: Callable[[Outcome], bool] = lambda outcome: True
    #: Makes the database sessions that the body used fit for others; returns the alias of the
    #: database on which it left a transaction open, or "".
    tidy: Callable[[], str] = lambda: ""
    #: Told that the body could not connect to the database of the jobs.
    refused: Callable[[BaseException], None] = lambda error: None
    is_eager: bool = False


def execute(job: Claimed, environment: Environment) -> Outcome:
    """Run one attempt in this thread and return how it ended."""
    # Context variables, the active language and the time zone end with the copy.
    return contextvars.copy_context().run(_execute, job, environment)


def _execute(job: Claimed, environment: Environment) -> Outcome:
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return _tell(execution, None)
    _enter(execution)
    try:
        # First of all: what kills the process from here on is this job's doing.
        environment.begins(execution)
        _start(execution)
        outcome = _call(execution, environment)
    except BaseException as error:
        if environment.is_eager and isinstance(error, KeyboardInterrupt):
            raise
        environment.tidy()
        outcome = raised(execution, _reason(error, environment))
    return _tell(outcome, execution)


async def execute_async(
    job: Claimed,
    environment: Environment,
    call: Callable[[Execution], Awaitable[Any]],
) -> Outcome:
    """Run one attempt in a task of its own; *call* awaits the body under its limits."""
    execution = prepare(job, environment)
    if isinstance(execution, Outcome):
        return _tell(execution, None)
    _enter(execution)
    try:
        environment.begins(execution)
        _start(execution)
        outcome = returned(execution, await call(execution))
    except BaseException as error:
        outcome = raised(execution, _reason(error, environment))
    return _tell(outcome, execution)


def _reason(error: BaseException, environment: Environment) -> BaseException:
    """Return *error*, or what gives the job back when the jobs' database refused a connection."""
    if environment.is_eager or refusing_database(error) != environment.using:
        return error
    environment.refused(error)
    stopping = WorkerStopping(f"it could not connect to database {environment.using!r}: {error}")
    stopping.__cause__ = error
    return stopping


def _enter(execution: Execution) -> None:
    running.set(execution.context)
    # The decimal context is one object for all copies of a context, and code changes it in place.
    decimal.setcontext(decimal.getcontext().copy())


def execute_crash(job: Claimed, error: BaseException | None, environment: Environment) -> Outcome:
    """Return how an attempt ended whose process died, or was killed with *error* as the reason.

    It enters the same steps at "classified", so that the rules for retries, hooks and signals are
    those of an attempt that raised.
    """
    if error is not None:
        try:
            execution = prepare(job, environment)
        except Exception as broken:  # of the project's base=, which then has no hooks to be told
            log.unprepared(job, describe(broken, hidden(job)))
        else:
            if isinstance(execution, Execution):
                return _tell(raised(execution, error), execution)
    return _tell(crashed(job), None)


def execute_refusal(job: Claimed, error: Exception) -> Outcome:
    """Return how a job ends that may not run, as nobody can tell under which limit it falls."""
    return _tell(unrunnable(job, error), None)


# --- resolve and bind ---------------------------------------------------------------------------


def prepare(job: Claimed, environment: Environment) -> Execution | Outcome:
    """Find the function and its arguments, or the outcome of a job that cannot run."""
    if job.expired:
        return expired(job)
    function = registry.find(job.name)
    if function is None:
        return _left(job, UnknownJob(registry.missing(job.name)), environment)
    if job.problem:
        return unrunnable(job, ArgumentError(job.problem))
    try:
        args, kwargs, headers = _parsed(job)
    except (TypeError, ValueError, RecursionError) as error:
        return unrunnable(job, error)
    if misfit := _misfit(function, args, kwargs):
        return _left(job, misfit, environment)
    defaults = function.options
    call = job.row_options.call
    hard, soft = _time_limits(job.name, call, defaults, environment)
    request = Request(
        uuid=job.id,
        name=job.name,
        args=args,
        kwargs=kwargs,
        retries=job.retries,
        queue=job.queue,
        priority=job.priority,
        eta=job.run_at,
        expires=job.expires_at,
        headers=headers,
        root_uuid=job.root_id or job.id,
        parent_uuid=job.parent_id,
        group_uuid=job.group_id,
        worker=environment.worker_name,
        called_directly=False,
        is_eager=environment.is_eager,
        time_limit=hard,
        soft_time_limit=soft,
        ignore_result=(
            defaults.ignore_result if call.ignore_result is None else call.ignore_result
        ),
    )
    context = defaults.base(function, request, environment.report)
    context.claims = job.claims
    context.row_options = job.row_options
    unable = environment.unable(request, function) if environment.unable else None
    if unable:
        return _left(job, UnknownJob(unable), environment)
    return Execution(job, context, time.monotonic())


def _left(job: Claimed, error: Exception, environment: Environment) -> Outcome:
    """Return the outcome of a job that the code of another worker may be able to run."""
    return unrunnable(job, error) if environment.is_eager else not_here(job, error)


def _misfit(
    function: JobFunction[..., Any, Any], args: list[Any], kwargs: dict[str, Any]
) -> Exception | None:
    """Return why the code of this process is not the one that the call was made for, or None.

    Whoever made the call had a function that it fits.
    """
    try:
        function.bind(args, kwargs)
    except TypeError as error:
        return error
    called = kwargs.get("name", args[0] if args else None) if function.name in CALLERS else None
    if isinstance(called, str) and registry.find(called) is None:
        return UnknownJob(registry.missing(called))
    return None


def _time_limits(
    name: str, call: CallOptions, defaults: JobOptions, environment: Environment
) -> tuple[float | None, float | None]:
    """Return the call's own limits, else an operator's, the function's or the worker's."""
    hard, soft = environment.time_limits.get(name, (None, None))
    return (
        call.time_limit or hard or defaults.time_limit or environment.time_limit,
        call.soft_time_limit or soft or defaults.soft_time_limit or environment.soft_time_limit,
    )


def _parsed(job: Claimed) -> tuple[list[Any], dict[str, Any], Mapping[str, Any]]:
    args = serialization.loads(job.args) if job.args != "[]" else []
    kwargs = serialization.loads(job.kwargs) if job.kwargs != "{}" else {}
    headers = serialization.loads(job.headers) if job.headers else {}
    if not isinstance(args, list):
        raise ArgumentError(f"args must be a JSON list, the row has {json_type(args)}.")
    for column, value in (("kwargs", kwargs), ("headers", headers)):
        if not isinstance(value, dict):
            raise ArgumentError(f"{column} must be a JSON object, the row has {json_type(value)}.")
    if job.row_options.problem:
        raise ArgumentError(job.row_options.problem)
    return args, kwargs, headers


# --- call ---------------------------------------------------------------------------------------


def body(execution: Execution) -> Any:
    """Call the function; for ``async def`` the answer is a coroutine."""
    function, request = execution.function, execution.context.request
    before = forks.generation
    try:
        if function.options.bind or function.base_wraps:
            value = execution.context(*request.args, **request.kwargs)
        else:
            value = function.__wrapped__(*request.args, **request.kwargs)
    except BaseException as error:
        if forks.generation != before:
            forks.leave(error)
        raise
    if forks.generation != before:
        forks.leave(None)
    return value


def _call(execution: Execution, environment: Environment) -> Outcome:
    if execution.function.options.atomic:
        return _call_atomic(execution, environment)
    value = _run(execution, environment)
    alias = environment.tidy()
    if alias:
        raise left_open(execution, alias)
    return returned(execution, value)


def left_open(execution: Execution, alias: str) -> TransactionLeftOpen:
    """Return the error of a body that returned inside a transaction, which was rolled back."""
    return TransactionLeftOpen(
        f"{execution.job.name} returned with a transaction open on database {alias!r}, which was "
        "rolled back; leave atomic(), and commit what your own SQL began, before you return"
    )


def _call_atomic(execution: Execution, environment: Environment) -> Outcome:
    """Call the body in a transaction, which SUCCESS ends; repeat it after a conflict.

    A deadlock or a serialization failure has rolled back all that the body wrote.
    """
    inside = connections[environment.using].in_atomic_block
    for number in range(_CONFLICT_TRIES):
        ended: list[Outcome] = []
        try:
            return _in_transaction(execution, environment, ended)
        except Error as error:
            kind = kind_of(error)
            last = inside or number == _CONFLICT_TRIES - 1
            if kind is not Kind.CONFLICT or last:
                if ended and kind is not Kind.WRONG and not environment.is_eager:
                    # The body did its part, and its writes count only if SUCCESS does.
                    raise TransactionLost(f"Its transaction could not be ended: {error}") from error
                raise
        # Those that met each other here must not meet again.
        time.sleep(random.uniform(0, 0.01 * 2**number))
        execution.context.added = []
    raise AssertionError("the last try returns or raises")


def _in_transaction(
    execution: Execution, environment: Environment, ended: list[Outcome]
) -> Outcome:
    committed: list[bool] = []
    try:
        with transaction.atomic(environment.using):
            # The first of the hooks: what raises after it is a hook of the body.
            transaction.on_commit(lambda: committed.append(True), environment.using)
            outcome = _call_in_transaction(execution, environment, ended)
    except BaseException as error:
        if not committed or _is_interrupt(error):
            raise
        job = execution.job
        log.hook_failed("on_commit", job.name, describe(error, hidden(job)))
    outcome.recorded = outcome.status == Status.SUCCESS
    return outcome


def _call_in_transaction(
    execution: Execution, environment: Environment, ended: list[Outcome]
) -> Outcome:
    outcome = returned(execution, _run(execution, environment))
    ended.append(outcome)
    cause = transaction_ended_by(environment.using)
    if cause:
        raise transaction.TransactionManagementError(
            f"{execution.job.name} is atomic, and {cause} ended its transaction before its "
            "time: what it wrote is not one unit with its success. Leave COMMIT and ROLLBACK "
            "to atomic()."
        )
    if outcome.status != Status.SUCCESS:
        # The result cannot be stored: the body's writes must not stay either.
        transaction.set_rollback(True, environment.using)
    elif not environment.commit(outcome):
        raise WorkerLost("The job is no longer this worker's; what it wrote was rolled back.")
    return outcome


def _run(execution: Execution, environment: Environment) -> Any:
    if environment.stoppable is None:
        return _run_limited(execution, environment)
    with environment.stoppable:
        return _run_limited(execution, environment)


def _run_limited(execution: Execution, environment: Environment) -> Any:
    seconds = execution.context.request.soft_time_limit
    if execution.function.is_async:
        # The limit is raised inside the coroutine: it runs beside this thread, not in it.
        return run_limited(body(execution), seconds)
    limit = environment.soft_limit if seconds else None
    with limit(seconds) if limit is not None and seconds else contextlib.nullcontext():
        value = body(execution)
    if type(value) is types.CoroutineType:
        return _awaited(execution, value, seconds)
    return value


def _awaited(execution: Execution, value: Any, seconds: float | None) -> Any:
    """Await what a plain function returned: a decorator may hide that the body is ``async def``."""
    if execution.function.options.atomic:
        value.close()
        raise TypeError(
            f"{execution.job.name} returned a coroutine, and atomic=True needs a plain function: "
            "Django's transactions do not span await. Return a value, or leave atomic out."
        )
    return run_limited(value, seconds)


# --- hooks, signals and log ---------------------------------------------------------------------


def _start(execution: Execution) -> None:
    job, request = execution.job, execution.context.request
    log.job_started(job)
    if _overrides(execution.context, "before_start"):
        _hook(execution, "before_start", request.id, request.args, request.kwargs)
    _send(signals.job_prerun, job, args=request.args, kwargs=request.kwargs)


def _tell(outcome: Outcome, execution: Execution | None) -> Outcome:
    """Tell hooks, receivers and the log how the attempt ended; return the outcome."""
    if execution is not None:
        _tell_hooks(outcome, execution)
    job, status, value = outcome.job, outcome.status, outcome.value
    if status == Status.SUCCESS:
        _send(signals.job_success, job, result=value)
    elif status == Status.RETRY:
        _send(signals.job_retry, job, exception=value, delay=outcome.delay)
    elif status == Status.FAILURE:
        trace = outcome.failure.traceback if outcome.failure else ""
        _send(signals.job_failure, job, exception=value, traceback=trace)
    elif status == Status.REVOKED:
        _send(signals.job_revoked, job, terminated=False, reason="expired")
    if execution is not None:
        request = execution.context.request
        _send(
            signals.job_postrun,
            job,
            args=request.args,
            kwargs=request.kwargs,
            status=status,
            result=value,
        )
        redirect_output.finish(execution.context)
    function = registry.find(job.name)
    throws = tuple(function.options.throws) if function else ()
    log.job_ended(outcome, expected=isinstance(value, throws))
    return outcome


def _tell_hooks(outcome: Outcome, execution: Execution) -> None:
    context, value = execution.context, outcome.value
    if type(context) is JobContext:
        return
    request = context.request
    trace = outcome.failure.traceback if outcome.failure else ""
    arguments = (request.id, request.args, request.kwargs)
    if outcome.status == Status.SUCCESS:
        _hook(execution, "on_success", value, *arguments)
    elif outcome.status == Status.RETRY:
        _hook(execution, "on_retry", value, *arguments, trace)
    elif outcome.status == Status.FAILURE:
        _hook(execution, "on_failure", value, *arguments, trace)
    if outcome.status in ENDED or outcome.status == Status.RETRY:
        _hook(execution, "after_return", outcome.status, value, *arguments, trace)


def _overrides(context: JobContext, hook: str) -> bool:
    return getattr(type(context), hook) is not getattr(JobContext, hook)


def _hook(execution: Execution, hook: str, *args: Any) -> None:
    try:
        getattr(execution.context, hook)(*args)
    except BaseException as error:  # sys.exit() ends no job that has succeeded
        if _is_interrupt(error):
            raise
        job = execution.job
        log.hook_failed(hook, job.name, describe(error, hidden(job, list(args))))


def _send(signal: signals.Signal, job: Claimed, **named: Any) -> None:
    if not signal.receivers:
        return
    try:
        signals.send(signal, job.name, hidden=lambda: hidden(job, named), job_id=job.id, **named)
    except BaseException as error:  # Django's dispatcher lets pass what sys.exit() raises
        if _is_interrupt(error):
            raise
        log.receiver_failed(job.name, describe(error, hidden(job, named)))


def _is_interrupt(error: BaseException) -> bool:
    """Tell whether a person interrupts an eager run, in the caller's own process."""
    context = running.get()
    return isinstance(error, KeyboardInterrupt) and bool(context and context.request.is_eager)
