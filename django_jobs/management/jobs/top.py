"""``jobs top``: queues, workers and running jobs, redrawn every second."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import select
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError, connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...display.job_text import arguments_line, is_number, plain, with_argument_texts
from ...display.times import duration, exact, ran, relative
from ...metrics.open_jobs import QueueState
from ...metrics.snapshot import Overview, look, recent_statistics
from ...models import Job, Worker
from ...status import Status
from ..width import cut
from .claimed_jobs import held
from .listing import LONGEST_ARGUMENTS
from .output import one_line, write_json, write_table
from .queue_states import paused, takes

# ANSI: enter and leave the alternate screen without a cursor, home, bold, clear to an end.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _BOLD, _PLAIN, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[1m", "\x1b[0m", "\x1b[K", "\x1b[J"
_ARGUMENTS_WIDTH = 40
# The most running jobs that are read and sorted.
_MOST_RUNNING = 500
# A placeholder of a screen for the word "paused".
_MARK = "\0"
_ORDERS = {
    "age": gettext_noop("the oldest first"),
    "job": gettext_noop("by job function"),
    "worker": gettext_noop("by worker"),
}
_TILES = (
    (gettext_noop("ready"), Status.PENDING), (gettext_noop("running"), Status.STARTED),
    (gettext_noop("waiting"), Status.WAITING), (gettext_noop("scheduled"), Status.SCHEDULED),
    (gettext_noop("retrying"), Status.RETRY), (gettext_noop("failed"), Status.FAILURE),
)  # fmt: skip


def show(out: OutputWrapper, *, using: str, as_json: bool, interval: float) -> None:
    """Redraw until q or Ctrl-C; without a terminal, print plain text once."""
    if interval <= 0:
        raise CommandError(f"--interval must be seconds > 0, got {interval}.")
    if as_json:
        write_json(out, _counts(look(using)))
    elif not (out.isatty() and sys.stdin.isatty()):
        out.write("\n".join(frame(using, 200, 1000)))
    else:
        with _terminal(out), contextlib.suppress(KeyboardInterrupt):
            _watch(out, using, interval)


@dataclasses.dataclass(slots=True)
class View:
    """The choices that keys have made."""

    #: The order of the running jobs: one of :data:`_ORDERS`.
    order: str = "age"
    is_paused: bool = False

    def press(self, keys: str) -> bool:
        """Carry out the keys; return whether one of them was q."""
        for key in keys.lower():
            if key == "s":
                names = list(_ORDERS)
                self.order = names[(names.index(self.order) + 1) % len(names)]
            elif key in " p":
                self.is_paused = not self.is_paused
        return "q" in keys.lower()


def _watch(out: OutputWrapper, using: str, interval: float) -> None:
    view, lines = View(), ""
    while True:
        if not (view.is_paused and lines):
            lines = _screen(using, view)
        title = _("paused") if view.is_paused else ""
        out.write(lines.replace(_MARK, title, 1), ending="")
        out.flush()
        if view.press(_keys(interval)):
            break


def frame(using: str, width: int, height: int, order: str = "age") -> list[str]:
    """Return the lines of one screen; the tables share its height."""
    snapshot = look(using)
    running = held(using)[0]
    busy = Counter(worker_id for _pk, worker_id in running)
    room = max(3, (height - 11) // 3)
    lines = [
        f"django_jobs  {using} ({connections[using].display_name})  {exact(snapshot.at)}",
        _tiles(snapshot, len(running)),
        _rates(using),
        *_waits(snapshot),
        "",
        *_part(("QUEUE", "READY", "RUNNING", "SLOTS", "OLDEST", "PAUSED"), _queues(snapshot), room),
        "",
        *_part(
            ("WORKER", "POOL", "BUSY", "DONE", "HEARTBEAT", "QUEUES"),
            _workers(snapshot, busy),
            room,
        ),
        "",
        *_part(
            ("RUNNING", "ARGUMENTS", "WORKER", "FOR", "PROGRESS"),
            _jobs(using, [pk for pk, _worker_id in running[:_MOST_RUNNING]], order),
            room,
        ),
    ]
    return [cut(one_line(line), width) for line in lines[:height]]


def _screen(using: str, view: View) -> str:
    width, height = shutil.get_terminal_size()
    try:
        keys = _("q quit   s sort running jobs (%s)   p pause") % _(_ORDERS[view.order])
        lines = [*frame(using, width, height - 2, view.order), cut(keys, width)]
    except (DatabaseError, InterfaceError) as error:
        connections[using].close()
        lines = [cut(one_line(_("the database does not answer: %s") % error), width)]
    first, *rest = lines
    body = "".join(f"\r\n{line}{_END_LINE}" for line in rest)
    return f"{_HOME}{_BOLD}{first}  {_MARK}{_PLAIN}{_END_LINE}{body}{_END_SCREEN}"


def _tiles(snapshot: Overview, busy: int) -> str:
    counts = "  ".join(f"{_(name)} {snapshot.statuses[status]}" for name, status in _TILES)
    slots, beats = _("slots"), _("beats")
    return f"{counts}  {slots} {busy}/{snapshot.slots}  {beats} {len(snapshot.beats)}"


def _rates(using: str) -> str:
    """Return as text how many jobs ended in the last whole minute and in the hour."""
    numbers = recent_statistics("1h", using)
    last = numbers.points[-2]
    text = _("last minute: %(ended)d ended, %(failed)d failed; hour: %(all)d, %(wrong)d failed")
    return text % {
        "ended": last.succeeded + last.failed, "failed": last.failed,
        "all": numbers.total.succeeded + numbers.total.failed, "wrong": numbers.total.failed,
    }  # fmt: skip


def _waits(snapshot: Overview) -> list[str]:
    """Return a line with the number of jobs of each reason to wait, if some wait."""
    parts = [f"{kind.value} {count}" for kind, count in snapshot.waiting.items() if count]
    return [_("waiting for: %s") % "  ".join(parts)] if parts else []


def _counts(snapshot: Overview) -> dict[str, Any]:
    return {
        "at": snapshot.at,
        **{name: int(snapshot.statuses[status]) for name, status in _TILES},
        "workers": len(snapshot.executing),
        "slots": snapshot.slots,
        "beats": len(snapshot.beats),
    }


def _part(titles: tuple[str, ...], rows: list[tuple[object, ...]], room: int) -> list[str]:
    text = io.StringIO()
    write_table(OutputWrapper(text), titles, rows[:room])
    more = [_("… and %d more") % (len(rows) - room)] if len(rows) > room else []
    return text.getvalue().splitlines() + more


def _queues(snapshot: Overview) -> list[tuple[object, ...]]:
    def urgency(state: QueueState) -> tuple[int, int, str]:
        return -int(state.ready), -state.running, state.name

    return [
        (state.name, state.ready, state.running, state.slots, relative(state.oldest), paused(state))
        for state in sorted(snapshot.queues, key=urgency)
    ]


def _workers(snapshot: Overview, busy: Counter[Any]) -> list[tuple[object, ...]]:
    return [
        (
            worker.name, worker.pool, f"{busy[worker.pk]}/{worker.slots}", worker.jobs_done,
            relative(worker.heartbeat_at), takes(worker),
        )
        for worker in snapshot.executing
    ]  # fmt: skip


def _jobs(using: str, ids: list[Any], order: str) -> list[tuple[object, ...]]:
    jobs: Any = Job.objects.using(using).running().filter(pk__in=ids)
    rows = list(with_argument_texts(jobs, LONGEST_ARGUMENTS).order_by("started_at", "pk"))
    names: dict[Any, str] = dict(
        Worker.objects.using(using)
        .filter(pk__in={job.worker_id for job in rows})
        .values_list("pk", "name")
    )
    told = dict(jobs.exclude(progress=None).values_list("pk", "progress"))
    cells: list[tuple[object, ...]] = [
        (
            job.name, arguments_line(job, _ARGUMENTS_WIDTH), names.get(job.worker_id) or _("gone"),
            duration(ran(job)), _percent(told.get(job.pk)),
        )
        for job in rows
    ]  # fmt: skip
    column = {"job": 0, "worker": 2}.get(order)
    return cells if column is None else sorted(cells, key=lambda row: str(row[column]))


def _percent(progress: Any) -> str:
    """Return how far a job is; its message may be secret."""
    shown = progress if isinstance(progress, dict) else {}
    done, total = shown.get("done"), shown.get("total")
    if not is_number(done):
        return ""
    return f"{done / total:.0%}" if is_number(total) and total > 0 else plain(done)


# --- the terminal -------------------------------------------------------------------------------


@contextlib.contextmanager
def _terminal(out: OutputWrapper) -> Iterator[None]:
    """Use the whole screen, and read keys without Enter; restore both, also on SIGTERM."""
    import termios  # Windows has none
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tty.setcbreak(descriptor)
    out.write(_ENTER, ending="")
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        out.write(_LEAVE, ending="")
        out.flush()


def _keys(seconds: float) -> str:
    """Wait *seconds*, or for a key; return the keys, q also at the end of the input."""
    ready, _write, _errors = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return ""
    return os.read(sys.stdin.fileno(), 64).decode(errors="replace") or "q"
