"""Operations on more jobs than one request should change: a background job performs them.

The request records what the user confirmed in a ``BulkChange``. The job goes through its ids in
pieces and keeps its place, so that it goes on from there after a crash or a retry.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone, translation

from ..api.waiting_for_workers import unknown_to_all
from ..conf import get_settings
from ..define import registry
from ..define.context import JobContext
from ..define.routing import database_of, route
from ..exceptions import QueueFull
from ..ids import uuid7
from ..models import BulkChange, Job, Queue, Worker
from .job_actions import Operation, perform
from .job_targets import named

#: An operation on more jobs than these is done in the background, and on at most so many.
MOST_IN_REQUEST, MOST = 1_000, 100_000
# Jobs between two records of the place.
_PIECE = 1_000
# How long the rows are kept, because an ended background job may be retried.
_KEPT = datetime.timedelta(days=30)


def queue_of(using: str) -> str:
    """Return the queue of background jobs; "" if no live worker would run one on *using*."""
    name, settings = registry.CHANGE_JOBS, get_settings()
    function = registry.find(name)
    if function is None or settings.eager:
        return ""
    routed = route(name, (), {}).get("queue")
    queue: str = routed or function.options.queue or settings.default_queue
    paused = Queue.objects.using(using).filter(name=queue, paused_at__isnull=False)
    if database_of(queue) != using or paused.exists():
        return ""
    workers: Any = Worker.objects.using(using)
    live = workers.live().executing().filter(quiet=False)
    is_served = any(each.serves(queue) for each in live.only("queues", "exclude_queues", "pool"))
    return queue if is_served and not unknown_to_all([name], using) else ""


def enqueue(
    operation: Operation, ids: Sequence[UUID], skipped: Mapping[str, int], user: Any, queue: str
) -> UUID | None:
    """Record what *user* confirmed and enqueue its job; return the job's id.

    *skipped* are the jobs that the request skipped already, by reason. Without a *queue* and for a
    full one it returns None: the request has to change the jobs.
    """
    if not queue:
        return None
    using = database_of(queue)
    change = BulkChange(
        pk=uuid7(), operation=operation.name, target=operation.target, user_key=str(user.pk),
        permission=operation.permission if user.has_perm(operation.permission) else "",
        job_ids=b"".join(each.bytes for each in ids), skipped=skipped, log_id=_last_entry(),
        created_at=timezone.now(),
    )  # fmt: skip
    function = registry.get(registry.CHANGE_JOBS)
    with suppress(QueueFull), transaction.atomic(using):
        old = BulkChange.objects.using(using).filter(created_at__lt=timezone.now() - _KEPT)
        old._raw_delete(using)
        change.save(using=using, force_insert=True)
        function.apply_async((operation.name, len(ids)), task_id=str(change.pk), queue=queue)
        job = Job(pk=change.pk, name=function.name)
        LogEntry.objects.log_actions(user.pk, [job], ADDITION, "Enqueued.")
        return change.pk
    return None


def run(context: JobContext) -> dict[str, Any]:
    """Perform the change of the running job, from its place on; return what was changed.

    Raises ``PermissionDenied`` if no user confirmed it, or if the user may no longer do it.
    """
    using, job_id = get_settings().database, UUID(str(context.request.id))
    rows = BulkChange.objects.using(using).filter(pk=job_id)
    change = rows.first()
    if change is None:
        raise PermissionDenied(
            "Nobody has confirmed this change in the admin. Choose the jobs there."
        )
    user, operation = _user_of(change), named(change.operation, change.target)
    ids = list(_unpacked(change.job_ids))
    total, skipped = max(len(ids), change.position), Counter[str](change.skipped)
    known: frozenset[UUID] = frozenset()
    if context.claims > 1:
        known = _changed_before(operation, ids[change.position :][:_PIECE], change, user.pk)
    with translation.override(None):
        while change.position < len(ids) and not context.revoked:
            piece = ids[change.position : change.position + _PIECE]
            left = [each for each in piece if each not in known]
            changed, others = perform(operation, left, user.pk, using)
            skipped.update(others)
            change.position += len(piece)
            change.changed += changed + len(piece) - len(left)
            rows.update(position=change.position, changed=change.changed, skipped=dict(skipped))
            context.progress(change.position, total)
    if change.position == total:
        rows.update(job_ids=b"")
    return {"operation": operation.name, "changed": change.changed, "skipped": dict(skipped)}


def _user_of(change: BulkChange) -> Any:
    user = get_user_model()._default_manager.filter(pk=change.user_key).first()
    may = user is not None and user.is_active
    if user is None or not may or (change.permission and not user.has_perm(change.permission)):
        raise PermissionDenied(
            f"The user who confirmed this may no longer {change.operation} jobs. Let somebody with "
            "the permission choose the jobs in the admin."
        )
    return user


def _changed_before(
    operation: Operation, ids: Iterable[UUID], change: BulkChange, user_id: Any
) -> frozenset[UUID]:
    """Return those of *ids* that an attempt changed before it could record its place.

    The admin's log has them, because their entries commit with the changes.
    """
    entries = LogEntry.objects.filter(
        pk__gt=change.log_id, user_id=user_id, action_flag=operation.flag,
        content_type=ContentType.objects.get_for_model(Job), change_message=operation.audit,
        object_id__in=[str(each) for each in ids],
    )  # fmt: skip
    return frozenset(map(UUID, entries.values_list("object_id", flat=True)))


def _last_entry() -> int:
    newest: int | None = LogEntry.objects.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def _unpacked(packed: Any) -> Iterator[UUID]:
    data = bytes(packed)
    for start in range(0, len(data), 16):
        yield UUID(bytes=data[start : start + 16])
