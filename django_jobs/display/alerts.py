"""The alerts. This module alone decides what needs attention, for pages and for mails.

No alerts mean that nothing needs attention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..conf import get_settings
from ..metrics.open_jobs import QueueState
from ..metrics.snapshot import NO_BEAT, Overview
from ..status import QUEUED, Status
from .times import Age

SEVERITIES = {"error": gettext_lazy("Error"), "warning": gettext_lazy("Warning")}


class Remedy(StrEnum):
    """A button that mends what an alert is about."""

    RESUME = "resume"
    RUN_NOW = "run_now"


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """A sentence, and the model and the filters of the list that it links to."""

    #: Stays the same while the alert lasts.
    key: str
    #: ``error``: jobs are not run. ``warning``: they may soon not be, or are late.
    severity: str
    #: The text, or its template if there are ``words``.
    message: str
    model: str
    filters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The command that mends it, if one does.
    command: str = ""
    remedy: Remedy | None = None
    #: The name of the queue, or the key of the schedule, that the remedy is for.
    target: str = ""
    #: The values that the message names. An age is an :class:`Age`: a page counts it.
    words: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.message % self.words if self.words else self.message


def alerts(snapshot: Overview) -> list[Alert]:
    """Return the alerts about workers, queues, deferred jobs and schedules; errors come first."""
    if get_settings().eager:
        return []
    found = [
        *_of_no_workers(snapshot),
        *_of_queues(snapshot),
        *_of_deferrals(snapshot),
        *_of_schedules(snapshot),
        *_of_workers(snapshot),
    ]
    return sorted(found, key=lambda alert: alert.severity)


def _of_no_workers(snapshot: Overview) -> Iterator[Alert]:
    if snapshot.executing:
        return
    number = sum(snapshot.statuses.get(status, 0) for status in QUEUED)
    if number:
        text = ngettext(
            "No live worker runs, and %d job waits.", "No live worker runs, and %d jobs wait.",
            number,
        ) % number  # fmt: skip
    else:
        text = _("No live worker runs.")
    severity = "error" if number else "warning"
    yield Alert("workers:none", severity, text, "worker", command="manage.py runworker")


def _of_queues(snapshot: Overview) -> Iterator[Alert]:
    has_workers = bool(snapshot.executing)
    for queue in snapshot.queues:
        if queue.ready:
            yield from _of_queue(queue, has_workers)


def _of_queue(queue: QueueState, has_workers: bool) -> Iterator[Alert]:
    name, words = queue.name, {"queue": queue.name, "ready": queue.ready}
    if queue.is_paused:
        text = _("Queue “%(queue)s” is paused (%(ready)s ready).") % words
        yield Alert(
            f"queue:paused:{name}", "warning", text, "queue", remedy=Remedy.RESUME, target=name
        )
    elif not queue.slots and has_workers:
        text = _("No live worker serves queue “%(queue)s” (%(ready)s ready).") % words
        command = f"manage.py runworker -Q {name}"
        yield Alert(f"queue:unserved:{name}", "error", text, "queue", command=command)
    target = queue.row.target_seconds if queue.row else None
    is_behind = target is not None and queue.oldest_seconds > target
    if queue.slots and queue.oldest and is_behind and not queue.is_paused:
        text = _("Queue “%(queue)s” is behind: its oldest job has waited %(age)s.")
        age = {"queue": name, "age": Age(queue.oldest, is_duration=True)}
        yield Alert(f"queue:behind:{name}", "warning", text, "queue", words=age)


def _of_deferrals(snapshot: Overview) -> Iterator[Alert]:
    for one in snapshot.deferrals:
        text = ngettext(
            "%(number)s job of “%(name)s” waits for a worker that can run it: %(reason)s",
            "%(number)s jobs of “%(name)s” wait for a worker that can run them: %(reason)s",
            one.number,
        )
        words = {"number": one.number, "name": one.name, "reason": one.reason}
        filters = {"status": Status.SCHEDULED, "name": one.name}
        yield Alert(f"function:unknown:{one.name}", "error", text % words, "job", filters)


def _of_schedules(snapshot: Overview) -> Iterator[Alert]:
    if snapshot.lacks_beat:
        command = "manage.py runbeat"
        yield Alert("beat:none", "error", str(NO_BEAT), "schedule", command=command)
    overdue = [schedule for schedule in snapshot.schedules if vars(schedule)["is_overdue"]]
    if overdue:
        first = overdue[0]
        text = _("Schedule “%(name)s” is overdue: it should have run %(when)s.")
        yield Alert(
            f"schedule:overdue:{first.pk}", "warning", text, "schedule", remedy=Remedy.RUN_NOW,
            target=str(first.pk), words={"name": first.name, "when": Age(first.next_run_at)},
        )  # fmt: skip
    if len(overdue) > 1:
        others = len(overdue) - 1
        text = ngettext(
            "%d more schedule is overdue, at least.", "%d more schedules are overdue, at least.",
            others,
        )  # fmt: skip
        yield Alert("schedules:overdue", "warning", text % others, "schedule")


def _of_workers(snapshot: Overview) -> Iterator[Alert]:
    late = [worker for worker in snapshot.workers if worker.is_late]
    if not late:
        return
    if len(late) == 1:
        text = _("Worker %(name)s sent its last heartbeat %(when)s.")
    else:
        text = _("%(number)s workers send no heartbeats; %(name)s sent its last %(when)s.")
    words = {"number": len(late), "name": late[0].name, "when": Age(late[0].heartbeat_at)}
    yield Alert("workers:late", "warning", text, "worker", words=words)
