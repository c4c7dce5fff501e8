"""``jobs retry``, ``jobs revoke``, ``jobs move``, ``jobs delete`` and ``jobs purge``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ... import control
from ...control import deleting
from ...control.retrying import REPLACED, with_root_causes
from ...define.routing import database_of
from ...display.job_text import reason_text
from ...exceptions import QueueFull
from ...metrics.capped_count import capped_count
from ...models import Job
from ...status import ENDED, QUEUED, Status
from ...workflows.upstream import UPSTREAM_FAILED
from .job_filters import flags, given_flags, matching
from .output import one_line, write_json, write_table
from .progress import Progress
from .selection import chunks, given, with_header


def retry(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    from_step: str | None,
    from_start: bool,
    dry_run: bool,
    status: str | None,
    **filters: Any,
) -> None:
    """Retry ended jobs by their ids, or all that match (by default the failed ones).

    They go on from the step that failed, from the step with the key *from_step*, or from the start.
    Without these two options, root causes are retried in place of the jobs that failed with them.
    """
    if from_start and from_step is not None:
        raise CommandError("Give --from-step or --from-start, not both.")
    if not _by_id(ids, status=status, **filters):
        jobs = matching(using, status=status or Status.FAILURE, **filters)
        errors = dict(jobs.order_by("pk").values_list("pk", "error_class"))
        wanted = list(errors)
        consequences = [each for each, error in errors.items() if error == UPSTREAM_FAILED]
    else:
        wanted, consequences = given(ids, using), None
    replaced = 0
    if from_step is None and not from_start:
        wanted, replaced = with_root_causes(wanted, using, consequences=consequences)
    others = {REPLACED: replaced} if replaced else {}
    if dry_run:
        _preview(out, as_json, "retried", wanted, sorted(ENDED), using, others)
        return
    done, skipped = _each(wanted, lambda chunk: control.retry(
        chunk, from_step=from_step, from_start=from_start, using=using
    ))  # fmt: skip
    _report(out, as_json, "retried", done, {**skipped, **others})


def revoke(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    terminate: bool,
    dry_run: bool,
    header: str | None = None,
    **filters: Any,
) -> None:
    """Revoke jobs that have not started; with *terminate*, running jobs too."""
    allowed = (*QUEUED, *((Status.STARTED,) if terminate else ()))
    if not _by_id(ids, **filters, header=header):
        jobs = matching(using, **filters).filter(status__in=allowed).order_by("pk")
        wanted = with_header(jobs, header) if header else list(jobs.values_list("pk", flat=True))
    else:
        wanted = given(ids, using)
    if dry_run:
        _preview(out, as_json, "revoked", wanted, allowed, using)
        return

    def act(chunk: Sequence[UUID]) -> tuple[int, Mapping[str, int]]:
        before = Job.objects.using(using).filter(pk__in=chunk).exclude(status__in=allowed)
        others = before.values_list("status", flat=True)
        skipped = Counter(f"is {status.lower()}" for status in others)
        return control.revoke(chunk, terminate=terminate, using=using), skipped

    _report(out, as_json, "revoked", *_each(wanted, act))


def move(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    to: str | None,
    priority: int | None,
    dry_run: bool,
    status: str | None,
    **filters: Any,
) -> None:
    """Move jobs that have not started to another queue or priority."""
    if to is None and priority is None:
        queue = filters["queue"]
        hint = f" --queue chooses jobs: did you mean --to {queue}?" if ids and queue else ""
        raise CommandError(f"Give --to QUEUE, --priority N or both.{hint}")
    wanted = _chosen(ids, QUEUED, using, status=status, **filters)
    if dry_run:
        _preview(out, as_json, "moved", wanted, QUEUED, using)
        return
    moved = Counter[str]()

    def act(chunk: Sequence[UUID]) -> tuple[int, Mapping[str, int]]:
        number, others = control.move(chunk, queue=to, priority=priority, using=using)
        moved["jobs"] += number
        return number, others

    try:
        done, skipped = _each(wanted, act)
    except (ValueError, QueueFull) as error:
        before = f" {moved['jobs']} jobs were moved before that." if moved else ""
        raise CommandError(one_line(f"{error}{before}")) from None
    _report(out, as_json, "moved", done, skipped)


def _each(
    wanted: Sequence[UUID], act: Callable[[Sequence[UUID]], tuple[int, Mapping[str, int]]]
) -> tuple[int, Mapping[str, int]]:
    """Change the jobs a chunk at a time; return how many were, and the skipped by reason."""
    done, skipped = 0, Counter[str]()
    with Progress(len(wanted)) as progress:
        for chunk in chunks(wanted):
            number, others = act(chunk)
            done += number
            skipped.update(others)
            progress.advance(len(chunk))
    return done, skipped


def _preview(
    out: OutputWrapper,
    as_json: bool,
    verb: str,
    wanted: Sequence[UUID],
    allowed: Sequence[str],
    using: str,
    others: Mapping[str, int] | None = None,
) -> None:
    """Print what would be changed: how many jobs, by job function, and who would be skipped.

    *others* are skipped, too, by reason.
    """
    names, skipped = Counter[str](), Counter[str](others or {})
    for chunk in chunks(wanted):
        rows = Job.objects.using(using).filter(pk__in=chunk).values_list("name", "status")
        for name, status in rows:
            if status in allowed:
                names[name] += 1
            else:
                skipped[f"is {status.lower()}"] += 1
    if as_json:
        counted = {"functions": names, "skipped": skipped}
        write_json(out, {"dry_run": True, verb: names.total(), **counted})
        return
    _report(out, False, f"would be {verb}", names.total(), skipped)
    if names:
        write_table(out, ("JOB", "JOBS"), names.most_common())


def delete(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    ids: Sequence[str],
    dry_run: bool,
    confirm: Callable[[str], bool] | None,
    status: str | None,
    **filters: Any,
) -> None:
    """Delete ended jobs by their ids, or all that match, unless *confirm* returns False."""
    wanted = _chosen(ids, ENDED, using, status=status, **filters)
    if dry_run:
        _preview(out, as_json, "deleted", wanted, sorted(ENDED), using)
        return
    number = len(wanted)
    question = ngettext("Permanently delete %d job?", "Permanently delete %d jobs?", number)
    if confirm is not None and wanted and not confirm(question % number):
        raise CommandError("Nothing was deleted.")

    def act(chunk: Sequence[UUID]) -> tuple[int, Mapping[str, int]]:
        deleted: set[UUID] = set()

        def note(jobs: Sequence[Job]) -> None:
            deleted.clear()  # the transaction may be repeated
            deleted.update(job.pk for job in jobs)

        kept = deleting.delete(chunk, using, note)
        left = Job.objects.using(using).filter(pk__in=[pk for pk in chunk if pk not in deleted])
        statuses = left.exclude(status__in=ENDED).values_list("status", flat=True)
        skipped = Counter(f"is {status.lower()}" for status in statuses)
        if kept:
            skipped[gettext_noop("another job of its workflow still needs its result")] = kept
        if gone := len(chunk) - len(deleted) - skipped.total():
            skipped[gettext_noop("gone")] = gone
        return len(deleted), skipped

    _report(out, as_json, "deleted", *_each(wanted, act))


def purge(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    queue: str,
    dry_run: bool,
    confirm: Callable[[str], bool] | None,
) -> None:
    """Delete the pending jobs of a queue, unless *confirm* returns False."""
    using = using or database_of(queue)
    pending = matching(using, status=Status.PENDING, queue=queue)
    if dry_run:
        free = capped_count(pending.filter(has_dependents=False))
        if as_json:
            write_json(out, {"dry_run": True, "deleted": free})
        else:
            out.write(_(_DONE["would be deleted"]) % free)
        return
    if confirm is not None:
        count = capped_count(pending)
        if not confirm(
            _("Permanently delete %(number)s pending jobs of queue %(queue)r?")
            % {"number": count, "queue": queue}
        ):
            raise CommandError("Nothing was deleted.")
    with Progress(capped_count(pending)) as progress:
        deleted = control.clear_queue(queue, using=using, note=progress.advance)
    kept = capped_count(pending.filter(has_dependents=True))
    skipped = {gettext_noop("other jobs depend on it: revoke it instead"): kept} if kept else {}
    _report(out, as_json, "deleted", deleted, skipped)


def _chosen(ids: Sequence[str], allowed: Collection[str], using: str, **filters: Any) -> list[UUID]:
    """Return the jobs with the *ids*, or those in an *allowed* status that match the *filters*."""
    if _by_id(ids, **filters):
        return given(ids, using)
    jobs = matching(using, **filters).filter(status__in=allowed)
    return list(jobs.order_by("pk").values_list("pk", flat=True))


def _by_id(ids: Sequence[str], **common: Any) -> bool:
    named, options = given_flags(common), flags(common)
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
    "would be retried": gettext_noop("%d would be retried"),
    "would be revoked": gettext_noop("%d would be revoked"),
    "would be moved": gettext_noop("%d would be moved"),
    "would be deleted": gettext_noop("%d would be deleted"),
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
