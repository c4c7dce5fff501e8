"""What is wrong, in sentences; an empty list is a quiet morning."""

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
    """A sentence, and the model whose list tells more, with the filters of that list."""

    text: str
    model: str
    filters: Mapping[str, str] = dataclasses.field(default_factory=dict)


def alerts(look: Overview) -> list[Alert]:
    """Return what an operator should know first."""
    return [*_of_queues(look), *_of_deferrals(look), *_of_schedules(look), *_of_workers(look)]


def _of_queues(look: Overview) -> Iterator[Alert]:
    for queue in look.queues:
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
        return _("Queue “%(queue)s” is behind: its oldest job waits for %(age)s.") % {
            "queue": queue.name,
            "age": duration(datetime.timedelta(seconds=queue.oldest_seconds)),
        }
    return ""


def _of_deferrals(look: Overview) -> Iterator[Alert]:
    for one in look.deferrals:
        text = ngettext(
            "%(number)s job of “%(name)s” waits for a worker that can run it: %(reason)s",
            "%(number)s jobs of “%(name)s” wait for a worker that can run them: %(reason)s",
            one.number,
        )
        words = {"number": one.number, "name": one.name, "reason": one.reason}
        yield Alert(text % words, "job", {"status": Status.SCHEDULED, "name": one.name})


def _of_schedules(look: Overview) -> Iterator[Alert]:
    if look.lacks_beat:
        yield Alert(str(NO_BEAT), "schedule")
    overdue = [schedule for schedule in look.schedules if vars(schedule)["is_overdue"]]
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


def _of_workers(look: Overview) -> Iterator[Alert]:
    late = [worker for worker in look.workers if vars(worker)["is_late"]]
    if len(late) == 1:
        text = _("Worker %(name)s was last heard %(when)s.")
        words = {"name": _named(late[0]), "when": relative(late[0].heartbeat_at)}
        yield Alert(text % words, "worker")
    elif late:
        text = _("%(number)d workers are not heard, %(name)s since %(when)s.")
        words = {"name": _named(late[0]), "when": relative(late[0].heartbeat_at)}
        yield Alert(text % {"number": len(late), **words}, "worker")


def _named(worker: Worker) -> str:
    return f"{worker.hostname}:{worker.pid}"
