"""The table of operations on jobs: each changes those that allow it and counts the others."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..control import deleting, jobs, retrying
from ..define import registry, row_options
from ..define.envelopes import opened_call
from ..display.job_text import reason_text
from ..exceptions import JobsError
from ..ids import uuid7
from ..models import Job
from ..status import ENDED, QUEUED, TIMED, Status
from ..workflows.upstream import UPSTREAM_FAILED

#: The most jobs that one request changes.
MOST_JOBS = 10_000
# Jobs that one transaction locks and changes.
_CHUNK = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One operation on jobs: its texts, the statuses that allow it, and the function for it."""

    name: str
    #: The button on a job's page.
    label: Any
    #: The action of the list.
    description: Any
    allowed: frozenset[Status]
    #: Takes ids, a database's alias and a function; calls this function with the changed jobs in
    #: the transaction that changes them; returns how many jobs it refused, by reason.
    run: Callable[[Sequence[UUID], str, jobs.Note], Mapping[str, int]]
    #: The text in the admin's log, in English.
    audit: str
    #: The permission, without the app's label.
    codename: str
    #: It cannot be undone, so the list asks for confirmation even for one job.
    destructive: bool = False
    flag: int = CHANGE
    #: A background job may perform it on many jobs.
    in_background: bool = True
    #: Its arguments besides the jobs, as JSON: a background job makes the operation from them.
    target: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def permission(self) -> str:
        return f"{Job._meta.app_label}.{self.codename}"


def _retry(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    _done, skipped = retrying.retry(ids, using=using, note=note)
    return skipped


def _revoke(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    jobs.revoke(ids, using=using, note=note)
    return {}


def _terminate(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    jobs.revoke(ids, terminate=True, reason="terminated", using=using, note=note)
    return {}


def _run_now(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    jobs.run_now(ids, using=using, note=note)
    return {}


def _copy(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    skipped = Counter[str]()
    for job in Job.objects.using(using).filter(pk__in=ids).order_by("pk"):
        function = registry.find(job.name)
        if function is None:
            skipped[_("its job function is unknown")] += 1
            continue
        if job.name in registry.INTERNAL:
            skipped[_("only django_jobs enqueues it")] += 1
            continue
        if row_options.read(job.options).workflow.taken_as is not None:
            skipped[_("takes results of other jobs, which a copy would lack")] += 1
            continue
        wanted = uuid7()
        try:
            args, kwargs = opened_call(job.args, job.kwargs)
            with transaction.atomic(using):
                made = function.apply_async(
                    args, kwargs, queue=job.queue, priority=job.priority,
                    headers=job.headers or {}, task_id=str(wanted),
                )  # fmt: skip
                if made.uuid == wanted:
                    note([job])
                else:
                    skipped[_("another live job holds its unique key")] += 1
        except (TypeError, ValueError, JobsError) as error:
            # The message may hold arguments.
            skipped[type(error).__name__] += 1
    return skipped


def _without_target(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    raise ValueError("Use the functions of job_targets, which know the target.")


def _delete(ids: Sequence[UUID], using: str, note: jobs.Note) -> Mapping[str, int]:
    kept = deleting.delete(ids, using, note)
    return {_("another job of its workflow still needs its result"): kept} if kept else {}


RETRY = Operation(
    "retry", gettext_lazy("Retry"), gettext_lazy("Retry selected jobs"), ENDED, _retry,
    "Retried.", "retry_job",
)  # fmt: skip
RETRY_FROM = Operation(
    "retry_from", gettext_lazy("Retry from a step"),
    gettext_lazy("Retry selected jobs from a step or from the start"), ENDED, _without_target, "",
    "retry_job", destructive=True,
)  # fmt: skip
SEND_EVENT = Operation(
    "send_event", gettext_lazy("Send its event"), gettext_lazy("Send selected jobs their event"),
    frozenset({Status.WAITING}), _without_target, "", "send_event", destructive=True,
    in_background=False,  # its payload may be secret, and no row keeps it
)  # fmt: skip
RUN_NOW = Operation(
    "run_now", gettext_lazy("Run now"), gettext_lazy("Run selected jobs now"), TIMED, _run_now,
    "Made to run now.", "run_job",
)  # fmt: skip
MOVE = Operation(
    "move", gettext_lazy("Move"), gettext_lazy("Move selected jobs to a queue or priority"),
    frozenset(QUEUED), _without_target, "", "move_job", destructive=True,
)  # fmt: skip
REVOKE = Operation(
    "revoke", gettext_lazy("Revoke"), gettext_lazy("Revoke selected jobs"), frozenset(QUEUED),
    _revoke, "Revoked.", "revoke_job", destructive=True,
)  # fmt: skip
TERMINATE = Operation(
    "terminate", gettext_lazy("Terminate"), gettext_lazy("Terminate selected running jobs"),
    frozenset({Status.STARTED}), _terminate, "Terminated.", "revoke_job", destructive=True,
)  # fmt: skip
COPY = Operation(
    "copy", gettext_lazy("Enqueue a copy"), gettext_lazy("Enqueue a copy of selected jobs"),
    frozenset(Status), _copy, "Enqueued a copy.", "enqueue_job",
)  # fmt: skip
# It replaces Django's own action, which logs and reports a deletion before it happens.
DELETE = Operation(
    "delete_selected", gettext_lazy("Delete"), gettext_lazy("Delete selected ended jobs"), ENDED,
    _delete, "", "delete_job", destructive=True, flag=DELETION,
)  # fmt: skip
OPERATIONS = (RETRY, RETRY_FROM, RUN_NOW, SEND_EVENT, MOVE, REVOKE, TERMINATE, COPY, DELETE)


def with_causes(
    operation: Operation, errors: Mapping[UUID, str], seen: QuerySet[Any]
) -> tuple[Sequence[UUID], Counter[str]]:
    """Return the jobs to change in place of the chosen ones, and the skipped by reason.

    *errors* has the class of error of each chosen job. A retry takes root causes, if the user may
    see them: *seen* has the user's rows.
    """
    ids = list(errors)
    if operation != RETRY:
        return ids, Counter()
    consequences = [each for each, error in errors.items() if error == UPSTREAM_FAILED]
    wanted, replaced = retrying.with_root_causes(ids, seen.db, seen, consequences)
    return wanted, Counter({retrying.REPLACED: replaced} if replaced else {})


def perform(
    operation: Operation, ids: Iterable[UUID], user_id: Any, using: str
) -> tuple[int, Counter[str]]:
    """Change the jobs that allow it, and log it; return how many, and the skipped by reason."""
    done, skipped = 0, Counter[str]()
    for chunk in _chunks(ids):
        done += _perform_chunk(operation, chunk, user_id, using, skipped)
    return done, skipped


def report(operation: Operation, done: int, skipped: Mapping[str, int]) -> str:
    """Return the message for the operator."""
    if operation.flag == DELETION:
        text = ngettext("%d job was deleted.", "%d jobs were deleted.", done)
    else:
        text = ngettext("%d job was changed.", "%d jobs were changed.", done)
    sentences = [text % done]
    if total := sum(skipped.values()):
        reasons = "; ".join(
            f"{number} {reason_text(reason)}" for reason, number in sorted(skipped.items())
        )
        text = ngettext("%(n)d was skipped: %(why)s.", "%(n)d were skipped: %(why)s.", total)
        sentences.append(text % {"n": total, "why": reasons})
    return f"{operation.label}: {' '.join(sentences)}"


def _perform_chunk(
    operation: Operation, ids: Sequence[UUID], user_id: Any, using: str, skipped: Counter[str]
) -> int:
    changed: set[UUID] = set()

    def note(jobs: Sequence[Job]) -> None:
        # In the transaction that changes them, so the log holds exactly the changed jobs.
        if jobs:
            log = LogEntry.objects.log_actions
            log(user_id, jobs, operation.flag, operation.audit)
            changed.update(job.pk for job in jobs)

    allowed = _allowed(operation, ids, using, skipped)
    if not allowed:
        return 0
    refused = operation.run(allowed, using, note)
    skipped.update(refused)
    if len(changed) + sum(refused.values()) < len(allowed):
        # Another transaction changed some of them after they were read.
        _allowed(operation, [pk for pk in allowed if pk not in changed], using, skipped)
    return len(changed)


def _allowed(
    operation: Operation, ids: Sequence[UUID], using: str, skipped: Counter[str]
) -> list[UUID]:
    """Return the jobs whose status allows the operation; count the others by reason."""
    rows = Job.objects.using(using).filter(pk__in=ids).order_by("pk")
    found = list(rows.values_list("pk", "status"))
    if len(found) < len(ids):
        skipped[_("gone")] += len(ids) - len(found)
    labels = dict(Status.choices)
    others = [status for _pk, status in found if status not in operation.allowed]
    skipped.update(_("is %s") % labels.get(status, status) for status in others)
    return [pk for pk, status in found if status in operation.allowed]


def _chunks(ids: Iterable[UUID]) -> Iterable[list[UUID]]:
    left = iter(ids)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk
