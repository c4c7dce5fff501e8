"""Commands for workers are rows: :func:`send` writes them, workers carry them out and answer.

A notification wakes the coordinators; without one they look once a second. The caller decides who
may send what: the admin asks for the permission ``control_worker``. The table of commands is
:data:`.command_table.COMMANDS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from ..conf import get_settings
from ..db import clock
from ..db.chunks import chunks
from ..define.routing import database_of
from ..enqueue.notify import Topic, announce
from ..models import Command, Worker
from ..suggest import did_you_mean
from .command_table import COMMANDS, CommandType

#: The answer to a command whose worker is gone.
WORKER_GONE = "The worker has ended before it answered."

_LOOK_SECONDS = 0.05


def send(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    workers: Iterable[UUID] | None = None,
    by: str = "",
    using: str = "",
) -> list[Command]:
    """Send a command to *workers*, by their ids (default: every live one); return its rows.

    *arguments* are those of :data:`.COMMANDS`. A command for a ``runworker`` goes to the process
    with the newest heartbeat. *by* names the sender and is kept in the row. A worker that is not
    alive gets an answered row that says so. Raises ``ValueError`` for an unknown command and for
    wrong arguments.
    """
    using = using or get_settings().database
    checked = check(name, arguments or {}, using)
    # Read outside: on SQLite, a transaction that begins with a read may be unable to write.
    receivers, gone = _targets(COMMANDS[name], workers, using)
    common = {"name": name, "arguments": checked, "created_by": by[:150]}
    rows = Command.objects.using(using)
    with transaction.atomic(using):
        # One by one: MySQL does not return the keys of a bulk insert.
        ids = [rows.create(worker_id=pk, created_at=clock(using), **common).pk for pk in receivers]
        ids += [
            rows.create(
                worker_id=pk, created_at=clock(using), done_at=clock(using),
                answer={"error": WORKER_GONE}, **common,
            ).pk
            for pk in gone
        ]  # fmt: skip
        if receivers:
            announce(using, {Topic.COMMANDS})
    return list(rows.filter(pk__in=ids).order_by("pk"))


def check(name: str, arguments: Mapping[str, Any], using: str = "") -> dict[str, Any]:
    """Return all arguments of a command, defaults too; raise ``ValueError`` for wrong ones."""
    if name not in COMMANDS:
        raise ValueError(
            f"There is no command {name!r}. Use one of {', '.join(COMMANDS)}."
            f"{did_you_mean(name, COMMANDS)}"
        )
    try:
        checked = COMMANDS[name].check(**arguments)
    except TypeError:
        allowed = ", ".join(COMMANDS[name].arguments) or "no argument"
        raise ValueError(f"{name} takes {allowed}; got {arguments!r:.200}.") from None
    queue = checked.get("queue")
    using = using or get_settings().database
    if queue is not None and database_of(queue) != using:
        raise ValueError(
            f"Queue {queue!r} lives on database {database_of(queue)!r}. Name a worker there."
        )
    return checked


def answers(sent: Sequence[Command], using: str = "") -> list[Command]:
    """Read the rows again, and answer those whose worker is gone."""
    using = using or get_settings().database
    answer_for_gone(using)
    ids = [command.pk for command in sent]
    return list(Command.objects.using(using).filter(pk__in=ids).order_by("pk"))


def wait(sent: Sequence[Command], timeout: float, using: str = "") -> list[Command]:
    """Wait up to *timeout* seconds for all answers; return all rows, also without an answer."""
    deadline = time.monotonic() + timeout
    while True:
        rows = answers(sent, using)
        if all(row.done_at for row in rows) or time.monotonic() >= deadline:
            return rows
        time.sleep(_LOOK_SECONDS)


def answer_for_gone(using: str) -> int:
    """Answer the open commands of workers that are gone; return how many."""
    live: Any = Worker.objects.using(using)
    alive = live.live().filter(pk=OuterRef("worker_id"))
    rows = Command.objects.using(using).filter(done_at=None)
    # Read first: callers of wait() come here often, and an UPDATE would lock SQLite each time.
    ids = list(rows.filter(~Exists(alive)).values_list("pk", flat=True))
    return sum(
        rows.filter(pk__in=chunk).update(done_at=clock(using), answer={"error": WORKER_GONE})
        for chunk in chunks(ids)
    )


def _targets(
    command: CommandType, workers: Iterable[UUID] | None, using: str
) -> tuple[list[UUID], list[UUID]]:
    """Return the ids of the live receivers, and of the wanted workers that are not alive."""
    rows: Any = Worker.objects.using(using)
    live = {worker.pk: worker for worker in rows.live().executing()}
    wanted = list(live) if workers is None else list(dict.fromkeys(workers))
    there = [live[pk] for pk in wanted if pk in live]
    is_for_all = command.scope == "process"
    receivers = [worker.pk for worker in there] if is_for_all else _one_of_each(there)
    return receivers, [pk for pk in wanted if pk not in live]


def _one_of_each(workers: Iterable[Worker]) -> list[UUID]:
    # A process that is stuck in C code sends no heartbeats; another one of its runworker does.
    found: dict[UUID, Worker] = {}
    for worker in sorted(workers, key=lambda worker: worker.heartbeat_at):
        found[worker.supervisor_id or worker.pk] = worker
    return [worker.pk for worker in found.values()]
