"""Finds the function and the arguments of a claimed job, before any of its code runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import serialization
from ..define import registry
from ..define.context import JobContext
from ..define.current import Request
from ..define.envelopes import refuse_without_keys
from ..define.hidden_arguments import called_name
from ..define.row_options import json_type
from ..exceptions import ArgumentError, EncryptionError, UnknownJob
from ..values import Claimed, Outcome
from .environment import Environment
from .outcome import Execution
from .outside_body import expired, not_here, unrunnable

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..define.options import JobOptions

_NO_LIMITS = (None, None)


def prepare(job: Claimed, environment: Environment) -> Execution | Outcome:
    """Return the function with its arguments, or the outcome of a job that cannot run."""
    if job.expired:
        return expired(job)
    function = registry.find(job.name)
    if function is None:
        return _left(job, UnknownJob(registry.missing(job.name)), environment)
    if job.problem:
        kind = EncryptionError if job.is_closed else ArgumentError
        return unrunnable(job, kind(job.problem))
    if function.options.encrypt:
        try:
            refuse_without_keys()
        except EncryptionError as error:  # its result could not be stored
            return unrunnable(job, error)
    try:
        args, kwargs, headers = _parsed(job)
    except (TypeError, ValueError, RecursionError) as error:
        return unrunnable(job, error)
    if misfit := _misfit(function, args, kwargs):
        return _left(job, misfit, environment)
    if function.argument_types is not None:
        try:
            args, kwargs = function.argument_types.decode(args, kwargs)
        except ArgumentError as error:
            return unrunnable(job, error)
    hard, soft = _time_limits(job, function.options, environment)
    if environment.unable and (unable := environment.unable(function, hard, soft)):
        return _left(job, UnknownJob(unable), environment)
    execution = Execution(job, function, args, kwargs, hard, soft)
    execution.context = _context(execution, headers, environment)
    execution.began = time.monotonic()
    return execution


def _context(
    execution: Execution, headers: Mapping[str, Any], environment: Environment
) -> JobContext:
    job, function = execution.job, execution.function
    base = function.options.base
    request: Any = functools.partial(_request, execution, headers, environment)
    if base.__init__ is not JobContext.__init__:
        request = request()  # a class of the project may read it
    context = base(function, request, environment.report)
    context.claimed, context.claims = job, job.claims
    context.step_store = environment.steps
    if job.options is not None:
        context.row_options = job.row_options
    if function.options.keep_log:
        from .kept_log import KeptLog  # its import lets it hear every record of the process

        context.kept_log = KeptLog(job, function.options)
    return context


def _request(execution: Execution, headers: Mapping[str, Any], environment: Environment) -> Request:
    job = execution.job
    return Request(
        uuid=job.id,
        name=job.name,
        args=execution.args,
        kwargs=execution.kwargs,
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
        time_limit=execution.time_limit,
        soft_time_limit=execution.soft_time_limit,
        ignore_result=execution.ignores_result,
    )


def _left(job: Claimed, error: Exception, environment: Environment) -> Outcome:
    """Return the outcome of a job that another worker, with other code, may be able to run."""
    return unrunnable(job, error) if environment.is_eager else not_here(job, error)


def _misfit(
    function: JobFunction[..., Any, Any], args: list[Any], kwargs: dict[str, Any]
) -> Exception | None:
    """Return why the call does not fit the function in this process, or None.

    The caller has checked the call, so the caller had other code than this process.
    """
    try:
        function.bind(args, kwargs)
    except TypeError as error:
        return error
    called = called_name(function.name, args, kwargs)
    if isinstance(called, str) and registry.find(called) is None:
        return UnknownJob(registry.missing(called))
    return None


def _time_limits(
    job: Claimed, defaults: JobOptions, environment: Environment
) -> tuple[float | None, float | None]:
    """Return the call's own limits, else an operator's, the function's or the worker's."""
    call = job.row_options.call
    hard, soft = environment.time_limits.get(job.name, _NO_LIMITS)
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
    if not isinstance(kwargs, dict):
        raise ArgumentError(f"kwargs must be a JSON object, the row has {json_type(kwargs)}.")
    if not isinstance(headers, dict):
        raise ArgumentError(f"headers must be a JSON object, the row has {json_type(headers)}.")
    if job.options is not None and job.row_options.problem:
        raise ArgumentError(job.row_options.problem)
    return args, kwargs, headers
