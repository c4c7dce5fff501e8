"""What the admin's buttons do to jobs: exactly which changed, which were skipped, and why."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import operate
from ..models import Job, JobQuerySet
from ..status import ENDED, TIMED, Status

#: One request changes at most so many jobs.
MOST_JOBS = 10_000
# Locked and changed in one transaction.
_CHUNK = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """A verb: the statuses it is for, what does it, and what it is called."""

    name: str
    label: Any
    allowed: frozenset[Status]
    #: Does it to jobs of a database; returns how many it refused, by reason.
    run: Callable[[Sequence[UUID], str], Mapping[str, int]]
    audit: str

    @property
    def permission(self) -> str:
        return f"{Job._meta.app_label}.{self.name.partition('_')[0]}_job"


def _retry(ids: Sequence[UUID], using: str) -> Mapping[str, int]:
    return operate.retry(ids, using=using)[1]


def _revoke(ids: Sequence[UUID], using: str) -> Mapping[str, int]:
    operate.revoke(ids, using=using)
    return {}


def _run_now(ids: Sequence[UUID], using: str) -> Mapping[str, int]:
    operate.run_now(ids, using=using)
    return {}


RETRY = Operation("retry", gettext_lazy("Retry"), ENDED, _retry, "Retried.")
REVOKE = Operation("revoke", gettext_lazy("Revoke"), frozenset(operate.QUEUED), _revoke, "Revoked.")
RUN_NOW = Operation("run_now", gettext_lazy("Run now"), TIMED, _run_now, "Made to run now.")
OPERATIONS = (RETRY, REVOKE, RUN_NOW)


def perform(
    operation: Operation, ids: Iterable[UUID], user_id: Any, using: str
) -> tuple[int, Counter[str]]:
    """Do it to those jobs that allow it, and log it; return how many, and the skipped by reason."""
    done, skipped = 0, Counter[str]()
    for chunk in _chunks(ids):
        # The rows stay locked from the look at their status until the log is written.
        with transaction.atomic(using):
            changed = _perform_chunk(operation, chunk, using, skipped)
            _log(changed, operation.audit, user_id)
        done += len(changed)
    return done, skipped


def delete_ended(jobs: JobQuerySet) -> None:
    """Delete those of the *jobs* that have ended by now, with their attempts."""
    ids = list(jobs.values_list("pk", flat=True))
    for chunk in _chunks(ids):
        with transaction.atomic(jobs.db):
            rows = Job.objects.using(jobs.db).filter(pk__in=chunk, status__in=ENDED)
            # Locked: an operator's retry cannot come between the look and the deletion.
            ended = list(rows.select_for_update().values_list("pk", flat=True))
            rows.filter(pk__in=ended).delete()


def report(done: int, skipped: Mapping[str, int]) -> str:
    """Return the sentence for the operator."""
    sentences = [ngettext("%d job was changed.", "%d jobs were changed.", done) % done]
    if total := sum(skipped.values()):
        reasons = "; ".join(f"{number} {reason}" for reason, number in sorted(skipped.items()))
        text = ngettext("%(n)d was skipped: %(why)s.", "%(n)d were skipped: %(why)s.", total)
        sentences.append(text % {"n": total, "why": reasons})
    return " ".join(sentences)


def _perform_chunk(
    operation: Operation, ids: Sequence[UUID], using: str, skipped: Counter[str]
) -> list[Job]:
    rows = Job.objects.using(using).filter(pk__in=ids)
    jobs = list(rows.select_for_update().only("name", "status").order_by("pk"))
    allowed = {job.pk: job for job in jobs if job.status in operation.allowed}
    if len(jobs) < len(ids):
        skipped[_("gone")] += len(ids) - len(jobs)
    skipped.update(_("is %s") % job.get_status_display() for job in jobs if job.pk not in allowed)
    if allowed:
        skipped.update(operation.run(list(allowed), using))
    after = rows.filter(pk__in=list(allowed)).values_list("pk", "status")
    return [allowed[pk] for pk, status in after if status != allowed[pk].status]


def _log(jobs: Sequence[Job], audit: str, user_id: Any) -> None:
    if jobs:
        LogEntry.objects.log_actions(user_id, jobs, CHANGE, audit)


def _chunks(ids: Iterable[UUID]) -> Iterable[list[UUID]]:
    left = iter(ids)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk
