"""``jobs top``: queues, workers and running jobs, redrawn every second."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError, connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...display.job_text import arguments_line, with_argument_texts
from ...display.times import duration, exact, ran, relative
from ...metrics.open_jobs import QueueState
from ...metrics.snapshot import Overview, look
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
            while True:
                out.write(_screen(using), ending="")
                out.flush()
                if _is_quit(interval):
                    break


def frame(using: str, width: int, height: int) -> list[str]:
    """Return the lines of one screen; the tables share its height."""
    snapshot = look(using)
    running = held(using)[0]
    busy = Counter(worker_id for _pk, worker_id in running)
    room = max(3, (height - 8) // 3)
    lines = [
        f"django_jobs  {using} ({connections[using].display_name})  {exact(snapshot.at)}",
        _tiles(snapshot, len(running)),
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
            ("RUNNING", "ARGUMENTS", "WORKER", "FOR"),
            _jobs(using, [pk for pk, _worker_id in running[:room]]),
            room,
        ),
    ]
    return [cut(one_line(line), width) for line in lines[:height]]


def _screen(using: str) -> str:
    width, height = shutil.get_terminal_size()
    try:
        lines = frame(using, width, height - 1)
    except (DatabaseError, InterfaceError) as error:
        connections[using].close()
        lines = [cut(one_line(_("the database does not answer: %s") % error), width)]
    first, *rest = lines
    body = "".join(f"\r\n{line}{_END_LINE}" for line in rest)
    return f"{_HOME}{_BOLD}{first}{_PLAIN}{_END_LINE}{body}{_END_SCREEN}"


def _tiles(snapshot: Overview, busy: int) -> str:
    counts = "  ".join(f"{_(name)} {snapshot.statuses[status]}" for name, status in _TILES)
    slots, beats = _("slots"), _("beats")
    return f"{counts}  {slots} {busy}/{snapshot.slots}  {beats} {len(snapshot.beats)}"


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


def _jobs(using: str, ids: list[Any]) -> list[tuple[object, ...]]:
    jobs: Any = Job.objects.using(using).running().filter(pk__in=ids)
    rows = list(with_argument_texts(jobs, LONGEST_ARGUMENTS).order_by("started_at", "pk"))
    names: dict[Any, str] = dict(
        Worker.objects.using(using)
        .filter(pk__in={job.worker_id for job in rows})
        .values_list("pk", "name")
    )
    return [
        (
            job.name, arguments_line(job, _ARGUMENTS_WIDTH), names.get(job.worker_id) or _("gone"),
            duration(ran(job)),
        )
        for job in rows
    ]  # fmt: skip


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


def _is_quit(seconds: float) -> bool:
    """Wait *seconds*, or for a key; return whether it was q."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _write, _errors = select.select([sys.stdin], [], [], left)
        if ready:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or b"q" in keys.lower():
                return True
    return False
