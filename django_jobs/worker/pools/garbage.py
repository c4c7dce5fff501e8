"""Python's collector of reference cycles, while a worker runs jobs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# New objects that the collector counts for a job from its begin to its end, rounded up.
_OBJECTS_A_JOB = 25


@contextlib.contextmanager
def rare_collections(jobs: int) -> Iterator[None]:
    """Let the collector look less often at objects that are no garbage.

    It leaves out what was loaded before the first job. Jobs that wait for their record survive the
    first collections, and enough of them make it look at everything else. It starts for as many new
    objects as the running *jobs* have. With a project's own threshold it starts no earlier, and not
    if it is off.
    """
    before = gc.get_threshold()
    gc.freeze()
    if before[0]:
        gc.set_threshold(max(before[0], jobs * _OBJECTS_A_JOB), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
