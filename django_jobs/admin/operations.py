"""What the admin's buttons do to jobs: exactly which changed, which were skipped, and why."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import operate, registry
from ..exceptions import JobsError
from ..family import is_needed
from ..handover import taken_by
from ..ids import uuid7
from ..models import Job
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
    #: Does it to jobs of a database; returns those it was done to, and how many it refused, by
    #: reason.
    run: Callable[[Sequence[UUID], str], tuple[Collection[UUID], Mapping[str, int]]]
    audit: str
    #: The permission's own part of its name.
    codename: str
    #: What cannot be taken back is asked for first, even for one job of the list.
    destructive: bool = False
    flag: int = CHANGE

    @property
    def permission(self) -> str:
        return f"{Job._meta.app_label}.{self.codename}"


def _retry(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    _done, skipped = operate.retry(ids, using=using)
    return _now_in(ids, using, {Status.PENDING, Status.WAITING}), skipped


def _revoke(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    operate.revoke(ids, using=using)
    return _now_in(ids, using, {Status.REVOKED}), {}


def _terminate(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    operate.revoke(ids, terminate=True, reason="terminated", using=using)
    return _now_in(ids, using, {Status.REVOKED}), {}


def _run_now(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    operate.run_now(ids, using=using)
    return _now_in(ids, using, {Status.PENDING}), {}


def _now_in(ids: Sequence[UUID], using: str, statuses: set[Status]) -> Collection[UUID]:
    rows = Job.objects.using(using).filter(pk__in=ids, status__in=statuses)
    return set(rows.values_list("pk", flat=True))


def _copy(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    copied, skipped = set[UUID](), Counter[str]()
    for job in Job.objects.using(using).filter(pk__in=ids).order_by("pk"):
        function = registry.find(job.name)
        if function is None:
            skipped[_("its job function is unknown")] += 1
            continue
        if taken_by(json.dumps(job.options)) is not None:
            skipped[_("takes results of other jobs, which a copy would lack")] += 1
            continue
        wanted = uuid7()
        try:
            with transaction.atomic(using):
                made = function.apply_async(
                    job.args, job.kwargs, queue=job.queue, priority=job.priority,
                    headers=job.headers or {}, task_id=str(wanted),
                )  # fmt: skip
        except (TypeError, ValueError, JobsError) as error:
            # Not its message, which may tell of the arguments.
            skipped[type(error).__name__] += 1
            continue
        if made.uuid == wanted:
            copied.add(job.pk)
        else:
            skipped[_("another live job holds its unique key")] += 1
    return copied, skipped


def _delete(ids: Sequence[UUID], using: str) -> tuple[Collection[UUID], Mapping[str, int]]:
    rows = Job.objects.using(using)
    needed = set(rows.filter(is_needed(using), pk__in=ids).values_list("pk", flat=True))
    deleted = set(ids) - needed
    rows.filter(pk__in=deleted).only("pk").delete()
    reasons = {_("another job of its workflow still needs its result"): len(needed)}
    return deleted, reasons if needed else {}


RETRY = Operation("retry", gettext_lazy("Retry"), ENDED, _retry, "Retried.", "retry_job")
REVOKE = Operation(
    "revoke", gettext_lazy("Revoke"), frozenset(operate.QUEUED), _revoke, "Revoked.", "revoke_job",
    destructive=True,
)  # fmt: skip
TERMINATE = Operation(
    "terminate", gettext_lazy("Terminate"), frozenset({Status.STARTED}), _terminate, "Terminated.",
    "revoke_job", destructive=True,
)  # fmt: skip
RUN_NOW = Operation(
    "run_now", gettext_lazy("Run now"), TIMED, _run_now, "Made to run now.", "run_job"
)
COPY = Operation(
    "copy", gettext_lazy("Enqueue a copy"), frozenset(Status), _copy, "Enqueued a copy.",
    "enqueue_job",
)  # fmt: skip
# It takes the place of Django's own, which logs a deletion and tells of it before it happens.
DELETE = Operation(
    "delete_selected", gettext_lazy("Delete"), ENDED, _delete, "", "delete_job",
    destructive=True, flag=DELETION,
)  # fmt: skip
OPERATIONS = (RETRY, RUN_NOW, REVOKE, TERMINATE, COPY, DELETE)


def perform(
    operation: Operation, ids: Iterable[UUID], user_id: Any, using: str
) -> tuple[int, Counter[str]]:
    """Do it to those jobs that allow it, and log it; return how many, and the skipped by reason."""
    done, skipped = 0, Counter[str]()
    for chunk in _chunks(ids):
        # The rows stay locked from the look at their status until the log is written.
        with transaction.atomic(using):
            changed = _perform_chunk(operation, chunk, using, skipped)
            if changed:
                log = LogEntry.objects.log_actions
                log(user_id, changed, operation.flag, operation.audit)
        done += len(changed)
    return done, skipped


def report(operation: Operation, done: int, skipped: Mapping[str, int]) -> str:
    """Return the sentence for the operator."""
    if operation.flag == DELETION:
        told = ngettext("%d job was deleted.", "%d jobs were deleted.", done)
    else:
        told = ngettext("%d job was changed.", "%d jobs were changed.", done)
    sentences = [told % done]
    if total := sum(skipped.values()):
        reasons = "; ".join(f"{number} {_(reason)}" for reason, number in sorted(skipped.items()))
        text = ngettext("%(n)d was skipped: %(why)s.", "%(n)d were skipped: %(why)s.", total)
        sentences.append(text % {"n": total, "why": reasons})
    return f"{operation.label}: {' '.join(sentences)}"


def _perform_chunk(
    operation: Operation, ids: Sequence[UUID], using: str, skipped: Counter[str]
) -> list[Job]:
    rows = Job.objects.using(using).filter(pk__in=ids)
    jobs = list(rows.select_for_update().only("name", "status").order_by("pk"))
    allowed = {job.pk: job for job in jobs if job.status in operation.allowed}
    if len(jobs) < len(ids):
        skipped[_("gone")] += len(ids) - len(jobs)
    skipped.update(_("is %s") % job.get_status_display() for job in jobs if job.pk not in allowed)
    if not allowed:
        return []
    done, refused = operation.run(list(allowed), using)
    skipped.update(refused)
    return [job for pk, job in allowed.items() if pk in done]


def _chunks(ids: Iterable[UUID]) -> Iterable[list[UUID]]:
    left = iter(ids)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk
