"""Alerts for the dashboard, as sentences; no alerts mean that nothing needs attention."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..display.times import duration, relative
from ..metrics.open_jobs import QueueState
from ..metrics.snapshot import NO_BEAT, Overview
from ..models import Worker
from ..status import Status


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """A sentence, and the model and the filters of the list that it links to."""

    text: str
    model: str
    filters: Mapping[str, str] = dataclasses.field(default_factory=dict)


def alerts(snapshot: Overview) -> list[Alert]:
    """Return the alerts about queues, deferred jobs, schedules and workers."""
    return [
        *_of_queues(snapshot),
        *_of_deferrals(snapshot),
        *_of_schedules(snapshot),
        *_of_workers(snapshot),
    ]


def _of_queues(snapshot: Overview) -> Iterator[Alert]:
    for queue in snapshot.queues:
        if text := _of_queue(queue):
            yield Alert(text, "queue")


def _of_queue(queue: QueueState) -> str:
    words = {"queue": queue.name, "ready": queue.ready}
    if not queue.ready:
        return ""
    if queue.is_paused:
        return _("Queue “%(queue)s” is paused (%(ready)s ready).") % words
    if not queue.slots:
        return _("No live worker serves queue “%(queue)s” (%(ready)s ready).") % words
    target = queue.row.target_seconds if queue.row else None
    if target is not None and queue.oldest_seconds > target:
        return _("Queue “%(queue)s” is behind: its oldest job has waited %(age)s.") % {
            "queue": queue.name,
            "age": duration(datetime.timedelta(seconds=queue.oldest_seconds)),
        }
    return ""


def _of_deferrals(snapshot: Overview) -> Iterator[Alert]:
    for one in snapshot.deferrals:
        text = ngettext(
            "%(number)s job of “%(name)s” waits for a worker that can run it: %(reason)s",
            "%(number)s jobs of “%(name)s” wait for a worker that can run them: %(reason)s",
            one.number,
        )
        words = {"number": one.number, "name": one.name, "reason": one.reason}
        yield Alert(text % words, "job", {"status": Status.SCHEDULED, "name": one.name})


def _of_schedules(snapshot: Overview) -> Iterator[Alert]:
    if snapshot.lacks_beat:
        yield Alert(str(NO_BEAT), "schedule")
    overdue = [schedule for schedule in snapshot.schedules if vars(schedule)["is_overdue"]]
    if overdue:
        first = overdue[0]
        text = _("Schedule “%(name)s” is overdue: it should have run %(when)s.")
        yield Alert(text % {"name": first.name, "when": relative(first.next_run_at)}, "schedule")
    if len(overdue) > 1:
        others = len(overdue) - 1
        text = ngettext(
            "%d more schedule is overdue, at least.", "%d more schedules are overdue, at least.",
            others,
        )  # fmt: skip
        yield Alert(text % others, "schedule")


def _of_workers(snapshot: Overview) -> Iterator[Alert]:
    late = [worker for worker in snapshot.workers if vars(worker)["is_late"]]
    if len(late) == 1:
        text = _("Worker %(name)s sent its last heartbeat %(when)s.")
        words = {"name": _named(late[0]), "when": relative(late[0].heartbeat_at)}
        yield Alert(text % words, "worker")
    elif late:
        text = _("%(number)d workers send no heartbeats; %(name)s sent its last %(when)s.")
        words = {"name": _named(late[0]), "when": relative(late[0].heartbeat_at)}
        yield Alert(text % {"number": len(late), **words}, "worker")


def _named(worker: Worker) -> str:
    return worker.name
