"""``jobs retry``, ``jobs revoke``, ``jobs move``, ``jobs purge`` and ``jobs run``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ... import control
from ...api.job import JobFunction
from ...api.result import AsyncResult
from ...define import registry
from ...define.conversion import refuse_misfits
from ...define.hidden_arguments import rules_of
from ...define.routing import database_of
from ...define.sensitive import shown_arguments
from ...display.job_text import pretty, reason_text, shown_payload
from ...exceptions import JobsError, QueueFull, ResultTimeout
from ...metrics.capped_count import capped_count
from ...models import Job
from ...status import ENDED, QUEUED, Status
from .output import one_line, printable, write_json
from .selection import chunks, given, matching, with_header


def retry(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    status: str | None,
    name: str | None,
    queue: str | None,
    from_step: str | None,
    from_start: bool,
) -> None:
    """Retry ended jobs by their ids, or all that match (by default the failed ones).

    They go on from the step that failed, from the step with the key *from_step*, or from the start.
    """
    if from_start and from_step is not None:
        raise CommandError("Give --from-step or --from-start, not both.")
    if not _by_id(ids, status=status, name=name, queue=queue):
        jobs = matching(using, status=status or Status.FAILURE, name=name, queue=queue)
        wanted = list(jobs.order_by("pk").values_list("pk", flat=True))
    else:
        wanted = given(ids, using)
    done, skipped = control.retry(wanted, from_step=from_step, from_start=from_start, using=using)
    _report(out, as_json, "retried", done, skipped)


def revoke(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    terminate: bool,
    name: str | None,
    queue: str | None,
    header: str | None = None,
) -> None:
    """Revoke jobs that have not started; with *terminate*, running jobs too."""
    allowed = (*QUEUED, *((Status.STARTED,) if terminate else ()))
    if not _by_id(ids, name=name, queue=queue, header=header):
        jobs = matching(using, name=name, queue=queue).filter(status__in=allowed).order_by("pk")
        wanted = with_header(jobs, header) if header else list(jobs.values_list("pk", flat=True))
    else:
        wanted = given(ids, using)
    skipped = Counter[str]()
    done = 0
    for chunk in chunks(wanted):
        before = Job.objects.using(using).filter(pk__in=chunk).exclude(status__in=allowed)
        skipped.update(f"is {status.lower()}" for status in before.values_list("status", flat=True))
        done += control.revoke(chunk, terminate=terminate, using=using)
    _report(out, as_json, "revoked", done, skipped)


def move(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    to: str | None,
    priority: int | None,
    status: str | None,
    name: str | None,
    queue: str | None,
) -> None:
    """Move jobs that have not started to another queue or priority."""
    if to is None and priority is None:
        hint = f" --queue chooses jobs: did you mean --to {queue}?" if ids and queue else ""
        raise CommandError(f"Give --to QUEUE, --priority N or both.{hint}")
    if not _by_id(ids, status=status, name=name, queue=queue):
        jobs = matching(using, status=status, name=name, queue=queue).filter(status__in=QUEUED)
        wanted = list(jobs.order_by("pk").values_list("pk", flat=True))
    else:
        wanted = given(ids, using)
    done, skipped = 0, Counter[str]()
    try:
        for chunk in chunks(wanted):
            number, others = control.move(chunk, queue=to, priority=priority, using=using)
            done += number
            skipped.update(others)
    except (ValueError, QueueFull) as error:
        before = f" {done} jobs were moved before that." if done else ""
        raise CommandError(one_line(f"{error}{before}")) from None
    _report(out, as_json, "moved", done, skipped)


def purge(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    queue: str,
    confirm: Callable[[str], bool] | None,
) -> None:
    """Delete the pending jobs of a queue, unless *confirm* returns False."""
    using = using or database_of(queue)
    pending = matching(using, status=Status.PENDING, queue=queue)
    if confirm is not None:
        count = capped_count(pending)
        if not confirm(
            _("Permanently delete %(number)s pending jobs of queue %(queue)r?")
            % {"number": count, "queue": queue}
        ):
            raise CommandError("Nothing was deleted.")
    deleted = control.clear_queue(queue, using=using)
    kept = capped_count(pending.filter(has_dependents=True))
    skipped = {gettext_noop("other jobs depend on it: revoke it instead"): kept} if kept else {}
    _report(out, as_json, "deleted", deleted, skipped)


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
    args = _parsed("--args", arguments, list, "an array, as in '[1, 2]'")
    kwargs = _parsed("--kwargs", keywords, dict, """an object, as in '{"user_id": 1}'""")
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


def _by_id(ids: Sequence[str], **common: str | None) -> bool:
    named = [f"--{option}" for option, value in common.items() if value is not None]
    options = ", ".join(f"--{option}" for option in common)
    if ids and named:
        raise CommandError(f"Give ids or {', '.join(named)}, not both.")
    if not ids and not named:
        raise CommandError(f"Name the jobs by their ids, or by one or more of {options}.")
    return bool(ids)


_DONE = {
    "retried": gettext_noop("%d retried"),
    "revoked": gettext_noop("%d revoked"),
    "moved": gettext_noop("%d moved"),
    "deleted": gettext_noop("%d deleted"),
}


def _report(
    out: OutputWrapper, as_json: bool, verb: str, done: int, skipped: Mapping[str, int]
) -> None:
    if as_json:
        write_json(out, {verb: done, "skipped": skipped})
        return
    text = _(_DONE[verb]) % done
    if skipped:
        several = sorted(skipped.items())
        reasons = "; ".join(f"{number} {reason_text(reason)}" for reason, number in several)
        text = _("%(done)s, skipped: %(reasons)s") % {"done": text, "reasons": reasons}
    out.write(one_line(text))


def _function(name: str) -> JobFunction[..., Any, Any]:
    function = registry.find(name)
    if function is None:
        raise CommandError(registry.missing(name))
    return function


def _parsed(option: str, text: str, kind: type, wanted: str) -> Any:
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
