"""``jobs inspect queues``, and cells that ``jobs top`` shares with it."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _

from ...display import json_rows
from ...display.times import relative
from ...metrics.open_jobs import QueueState
from ...metrics.snapshot import look
from ...metrics.worker_states import WorkerState
from ...models import Worker
from .output import served, write_json, write_table
from .selection import live_workers


def show_queues(out: OutputWrapper, *, using: str, as_json: bool) -> None:
    """Print the queues, by name, with their ready and running jobs and their workers."""
    states = sorted(look(using).queues, key=lambda state: state.name)
    workers = live_workers(using, [])
    if as_json:
        write_json(out, [json_rows.queue(state, workers) for state in states])
        return
    titles = ("QUEUE", "READY", "RUNNING", "SLOTS", "OLDEST", "PAUSED", "WORKERS")
    write_table(out, titles, [_queue_cells(state, workers) for state in states])


def _queue_cells(state: QueueState, workers: Sequence[Worker]) -> list[object]:
    serving = sum(worker.serves(state.name) for worker in workers)
    return [
        state.name, state.ready, state.running, state.slots, relative(state.oldest),
        paused(state), serving,
    ]  # fmt: skip


def paused(state: QueueState) -> str:
    """Return when and by whom a queue was paused; empty if it is not paused."""
    if state.row is None or state.row.paused_at is None:
        return ""
    when = relative(state.row.paused_at)
    if not state.row.paused_by:
        return when
    return _("%(when)s by %(user)s") % {"when": when, "user": state.row.paused_by}


def takes(worker: Worker | WorkerState) -> str:
    """Return the queues that a worker serves, and whether it is quiet."""
    text = served(worker.queues, worker.exclude_queues)
    return _("%s (quiet)") % text if worker.quiet else text
