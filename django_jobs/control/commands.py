"""Remote control as data: commands are rows, which workers obey and answer.

The admin and ``manage.py jobs control`` :func:`send` them; a notification wakes the workers, and
where there is none they look once a second. Who may send what is decided by the caller:
``control_worker`` is the permission for all of them.

==============  ==============================================  ==============================
verb            arguments                                       done by
==============  ==============================================  ==============================
``ping``                                                        each process
``quiet``                                                       each process
``resume``                                                      each process
``add-queue``   ``queue``                                       each process
``remove-queue``  ``queue``                                     each process
``time-limit``  ``job``; ``hard``, ``soft``: seconds or None    each process
``grow``        ``number`` of processes (1)                     each ``runworker``
``shrink``      ``number`` of processes (1)                     each ``runworker``
``autoscale``   ``most``, ``least``, ``idle_seconds`` (30);     each ``runworker``
                both None: no longer
``shutdown``    ``cold`` (False)                                each ``runworker``
==============  ==============================================  ==============================
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from ..conf import get_settings
from ..db import clock
from ..db.base import chunks
from ..define import registry
from ..define.options import queue_problems
from ..define.routing import database_of
from ..enqueue.notify import Topic, announce
from ..models import Command, Worker
from ..suggest import did_you_mean

#: How long a process of an autoscaled ``runworker`` has nothing to do before it is stopped.
IDLE_SECONDS = 30.0
#: The answer to a command whose worker is gone.
ENDED = "The worker has ended before it answered."

_LOOK_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Verb:
    """What can be sent, and how its arguments are checked."""

    check: Callable[..., dict[str, Any]]
    #: It concerns a whole ``runworker``: one process of each takes it to the supervisor.
    once: bool = False


def send(
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    workers: Iterable[UUID] | None = None,
    by: str = "",
    using: str = "",
) -> list[Command]:
    """Tell *workers*, by their ids (default: every live one), to do something; return the rows.

    What concerns a ``runworker`` goes to one of its processes, the one that was heard last. *by*
    is who wants it, and is kept in the row. A worker that is not alive is not told; its row says so
    at once. Raises ``ValueError`` for an unknown verb and for arguments that are none.
    """
    using = using or get_settings().database
    checked = check(verb, arguments or {}, using)
    # Read before the transaction: on SQLite one that reads first cannot always write then.
    told, gone = _targets(VERBS[verb], workers, using)
    common = {"name": verb, "arguments": checked, "created_by": by[:150]}
    rows = Command.objects.using(using)
    with transaction.atomic(using):
        # One by one: MySQL does not tell the keys of many.
        ids = [rows.create(worker_id=pk, created_at=clock(using), **common).pk for pk in told]
        ids += [
            rows.create(
                worker_id=pk, created_at=clock(using), done_at=clock(using),
                answer={"error": ENDED}, **common,
            ).pk
            for pk in gone
        ]  # fmt: skip
        if told:
            announce(using, {Topic.COMMANDS})
    return list(rows.filter(pk__in=ids).order_by("pk"))


def check(verb: str, arguments: Mapping[str, Any], using: str = "") -> dict[str, Any]:
    """Return the *arguments* of *verb*, complete; raise ``ValueError`` when they are wrong."""
    if verb not in VERBS:
        raise ValueError(
            f"There is no command {verb!r}. Use one of {', '.join(VERBS)}."
            f"{did_you_mean(verb, VERBS)}"
        )
    try:
        checked = VERBS[verb].check(**arguments)
    except TypeError:
        allowed = ", ".join(inspect.signature(VERBS[verb].check).parameters) or "no argument"
        raise ValueError(f"{verb} takes {allowed}; got {arguments!r:.200}.") from None
    queue = checked.get("queue")
    using = using or get_settings().database
    if queue is not None and database_of(queue) != using:
        raise ValueError(
            f"Queue {queue!r} lives on database {database_of(queue)!r}. Name a worker there."
        )
    return checked


def answers(sent: Sequence[Command], using: str = "") -> list[Command]:
    """Return the rows as they are now; one whose worker is gone is answered as such."""
    using = using or get_settings().database
    settle(using)
    ids = [command.pk for command in sent]
    return list(Command.objects.using(using).filter(pk__in=ids).order_by("pk"))


def wait(sent: Sequence[Command], timeout: float, using: str = "") -> list[Command]:
    """Wait up to *timeout* seconds for all answers; return the rows, unanswered ones too."""
    deadline = time.monotonic() + timeout
    while True:
        rows = answers(sent, using)
        if all(row.done_at for row in rows) or time.monotonic() >= deadline:
            return rows
        time.sleep(_LOOK_SECONDS)


def settle(using: str) -> int:
    """Answer the open commands of workers that are gone; return how many."""
    live: Any = Worker.objects.using(using)
    alive = live.live().filter(pk=OuterRef("worker_id"))
    rows = Command.objects.using(using).filter(done_at=None)
    # Looked for first: who waits for answers asks often, and a writer would hold SQLite up.
    ids = list(rows.filter(~Exists(alive)).values_list("pk", flat=True))
    return sum(
        rows.filter(pk__in=chunk).update(done_at=clock(using), answer={"error": ENDED})
        for chunk in chunks(ids)
    )


def _targets(
    verb: Verb, workers: Iterable[UUID] | None, using: str
) -> tuple[list[UUID], list[UUID]]:
    """Return the ids of the workers to tell, and of those wanted that are not alive."""
    rows: Any = Worker.objects.using(using)
    live = {worker.pk: worker for worker in rows.live().executing()}
    wanted = list(live) if workers is None else list(dict.fromkeys(workers))
    there = [live[pk] for pk in wanted if pk in live]
    told = _one_of_each(there) if verb.once else [worker.pk for worker in there]
    return told, [pk for pk in wanted if pk not in live]


def _one_of_each(workers: Iterable[Worker]) -> list[UUID]:
    # A process that is stuck in C code beats no more: another one of its runworker listens.
    found: dict[UUID, Worker] = {}
    for worker in sorted(workers, key=lambda worker: worker.heartbeat_at):
        found[worker.supervisor_id or worker.pk] = worker
    return [worker.pk for worker in found.values()]


# --- arguments ----------------------------------------------------------------------------------


def _none() -> dict[str, Any]:
    return {}


def _queue(queue: str) -> dict[str, Any]:
    for problem in queue_problems(queue):
        raise ValueError(problem)
    return {"queue": queue}


def _number(number: int = 1) -> dict[str, Any]:
    return {"number": _whole("number", number)}


def _autoscale(
    most: int | None, least: int | None, idle_seconds: float = IDLE_SECONDS
) -> dict[str, Any]:
    if most is None and least is None:
        return {"most": None, "least": None, "idle_seconds": None}
    bounds = {"most": _whole("most", most), "least": _whole("least", least)}
    if bounds["most"] < bounds["least"]:
        raise ValueError(f"most ({most}) must not be below least ({least}).")
    return {**bounds, "idle_seconds": _seconds("idle_seconds", idle_seconds)}


def _shutdown(cold: bool = False) -> dict[str, Any]:
    if not isinstance(cold, bool):
        raise ValueError(f"cold must be True or False, got {cold!r}.")
    return {"cold": cold}


def _time_limit(job: str, hard: float | None = None, soft: float | None = None) -> dict[str, Any]:
    function = registry.find(job)
    if function is None:
        raise ValueError(registry.missing(job))
    for name, value in (("hard", hard), ("soft", soft)):
        if value is not None:
            _seconds(name, value)
    soft_one = soft or function.options.soft_time_limit
    hard_one = hard or function.options.time_limit
    if soft_one and hard_one and soft_one >= hard_one:
        raise ValueError(f"The soft limit ({soft_one}) must be shorter than the hard ({hard_one}).")
    return {"job": job, "hard": hard, "soft": soft}


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ValueError(f"{name} must be a whole number from 1 to 1000, got {value!r}.")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ValueError(f"{name} must be seconds > 0, got {value!r}.")
    return value


#: Every command that can be sent. (Workers know one more, ``terminate``, which ``revoke`` sends.)
VERBS: dict[str, Verb] = {
    "ping": Verb(_none),
    "quiet": Verb(_none),
    "resume": Verb(_none),
    "add-queue": Verb(_queue),
    "remove-queue": Verb(_queue),
    "time-limit": Verb(_time_limit),
    "grow": Verb(_number, once=True),
    "shrink": Verb(_number, once=True),
    "autoscale": Verb(_autoscale, once=True),
    "shutdown": Verb(_shutdown, once=True),
}
