"""The operations on queues, each of which has a button."""

from __future__ import annotations

from ..models import Job, Queue
from .operations import PageOperation

_APP = Queue._meta.app_label
PAUSE = PageOperation("pause", f"{_APP}.pause_queue")
RESUME = PageOperation("resume", f"{_APP}.pause_queue")
CLEAR = PageOperation("clear", f"{Job._meta.app_label}.delete_job")
OPERATIONS = (PAUSE, RESUME, CLEAR)
