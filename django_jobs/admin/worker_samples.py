"""The past hour of a worker: its memory and its busy slots, minute by minute."""

from __future__ import annotations

from typing import NamedTuple

from ..display.job_text import is_number
from ..models import Worker
from ..process.samples import MINUTES

_MIB = 1024 * 1024


class Sample(NamedTuple):
    """The most memory and the mean of the busy slots of a minute."""

    memory_bytes: int
    busy: float


def samples_of(worker: Worker) -> list[Sample | None]:
    """Return the samples of at most an hour, the newest last.

    A minute has None if the worker wrote no sample in it.
    """
    found: list[Sample | None] = []
    for each in (worker.samples or [])[-MINUTES:]:
        is_sample = isinstance(each, list) and len(each) == 2 and all(map(is_number, each))
        found.append(Sample(round(each[0] * _MIB), each[1]) if is_sample else None)
    return found
