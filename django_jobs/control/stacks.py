"""Asks the worker of a running job for the job's stack."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from django.db import connections

from ..db import clock
from ..enqueue.notify import Topic, announce
from ..exceptions import JobDoesNotExist
from ..ids import uuids
from ..models import Command, Job
from ..status import Status
from .commands import wait
from .jobs import by_database


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The stack of a job: file, line and function of each frame, the innermost last.

    Without frames, *problem* says why.
    """

    frames: list[tuple[str, int, str]] = dataclasses.field(default_factory=list)
    problem: str = ""


def stack(job_id: UUID | str, *, timeout: float = 5.0, by: str = "", using: str = "") -> Stack:
    """Return the stack of a running job, as its worker sees it now.

    It has files, lines and functions, and no values of variables. *by* names the person who asks,
    for the worker's log. Raises ``JobDoesNotExist``, and ``ValueError`` for a job that does not
    run.
    """
    ((alias, (pk,)),) = [(using, uuids([job_id]))] if using else list(by_database([job_id]))
    if connections[alias].in_atomic_block:
        raise ValueError(
            "stack() asks the worker by a row, which the worker sees after a commit. Call it "
            "outside of a transaction."
        )
    job = Job.objects.using(alias).filter(pk=pk).only("status", "worker_id", "claims").first()
    if job is None:
        raise JobDoesNotExist(f"No job has the id {pk}. It was deleted or pruned.")
    if job.status != Status.STARTED or job.worker_id is None:
        raise ValueError(f"Job {pk} is {job.status}: only a job that runs has a stack.")
    (answered,) = wait([ask(job, by, alias)], timeout, alias)
    if not answered.done_at:
        return Stack(
            problem=f"The worker has not answered within {timeout:g} s. Its interpreter may be "
            "busy in C code that keeps the GIL, or the worker is stopping."
        )
    answer = answered.answer if isinstance(answered.answer, dict) else {}
    if problem := answer.get("error") or answer.get("problem"):
        return Stack(problem=str(problem))
    return Stack([(str(file), int(line), str(name)) for file, line, name in answer["frames"]])


def ask(job: Job, by: str, using: str) -> Command:
    """Ask the worker of a running job, as soon as the transaction commits."""
    assert job.worker_id is not None
    command = Command.objects.using(using).create(
        worker_id=job.worker_id,
        name="stack",
        arguments={"id": str(job.pk), "claims": job.claims},
        created_at=clock(using),
        created_by=by[:150],
    )
    announce(using, {Topic.COMMANDS})
    return command
