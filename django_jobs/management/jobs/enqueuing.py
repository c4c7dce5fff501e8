"""``jobs run``."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError

from ...api.job import JobFunction
from ...api.result import AsyncResult
from ...define import registry
from ...define.conversion import refuse_misfits
from ...define.hidden_arguments import rules_of
from ...define.sensitive import shown_arguments
from ...display.job_text import pretty, shown_payload
from ...exceptions import JobsError, ResultTimeout
from ...status import ENDED, Status
from .output import one_line, printable, write_json


def run(
    out: OutputWrapper,
    *,
    as_json: bool,
    name: str,
    arguments: str,
    keywords: str,
    queue: str | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Enqueue a call of the registered job function; print its id or, with *wait*, its result."""
    if timeout is not None and not wait:
        raise CommandError("--timeout needs --wait.")
    function = _function(name)
    args = parsed_json("--args", arguments, list, "an array, as in '[1, 2]'")
    kwargs = parsed_json("--kwargs", keywords, dict, """an object, as in '{"user_id": 1}'""")
    try:
        refuse_misfits(function, args, kwargs)
        result = function.apply_async(args, kwargs, queue=queue)
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # the function's own unique_key may raise anything
        is_ours = isinstance(error, (TypeError, ValueError, JobsError))
        text = str(error) if is_ours else f"{type(error).__name__}: {error}"
        shown = shown_arguments(rules_of(name), args, kwargs)
        raise CommandError(printable(shown.text(text))) from None
    if wait:
        _print_result(out, as_json, result, timeout)
    elif as_json:
        write_json(out, {"id": result.id, "name": function.name, "status": result.status})
    else:
        out.write(str(result.id))


def _function(name: str) -> JobFunction[..., Any, Any]:
    function = registry.find(name)
    if function is None:
        raise CommandError(registry.missing(name))
    return function


def parsed_json(option: str, text: str, kind: type, wanted: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{option} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(value, kind):
        raise CommandError(f"{option} must be {wanted}, got a {type(value).__name__}.")
    return value


def _print_result(
    out: OutputWrapper, as_json: bool, result: AsyncResult[Any], timeout: float | None
) -> None:
    try:
        result._await_end(timeout, allow_join=True)
        job = result.job
    except ResultTimeout as error:  # it may name a worker, and quote an error
        raise CommandError(one_line(error)) from None
    if job.status not in ENDED or job.status != Status.SUCCESS:
        message = shown_payload(job, ()).message
        why = ": ".join(part for part in (job.error_class, message) if part)
        raise CommandError(printable(f"job {job.pk} ended with {job.status}: {why}"))
    value = shown_payload(job, ("result",)).result
    if as_json:
        write_json(out, {"id": job.pk, "name": job.name, "status": job.status, "result": value})
    else:
        out.write(printable(pretty(value)))
