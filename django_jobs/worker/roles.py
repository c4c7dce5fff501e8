"""What the processes of a supervisor are, by their indexes: workers, a beat, the coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from ..process.presence import beat_name
from . import coordinator
from .child_process import BEAT, COORDINATOR
from .fork import hear_term
from .inherited import Inherited
from .options import WorkerOptions
from .shared_slots import SharedSlots
from .supervisor_channel import SupervisorChannel
from .worker import STOPPED, WorkerProcess

#: It runs a beat, whose row has that id, and calls its second argument at each step.
RunBeat = Callable[[UUID, Callable[[], None]], int]


def name_of(index: int, options: WorkerOptions) -> str:
    """Return the name of the process at *index*."""
    if index == BEAT:
        return beat_name(options.base_name)
    if index == COORDINATOR:
        return f"{options.base_name}-coordinator"
    return options.name_of(index)


def run(
    index: int,
    worker_id: UUID,
    options: WorkerOptions,
    shared_slots: SharedSlots,
    channel: SupervisorChannel,
    inherited: Inherited,
    run_beat: RunBeat | None,
) -> int:
    """Be the process at *index*, to its end; return its exit code."""
    if index == COORDINATOR:
        name = name_of(index, options)
        coordinator.run_beside(name, options, inherited, shared_slots)
        return STOPPED
    if index == BEAT and run_beat is not None:
        hear_term()

        def stepped() -> None:
            shared_slots.stepped = time.monotonic()

        run_beat(worker_id, stepped)
        return STOPPED
    worker = WorkerProcess(options, worker_id, index, shared_slots, channel, inherited)
    hear_term(worker.stop)
    return worker.run()
