"""Operations on jobs, events, queues, schedules, limits and workers, for people and code.

The names below are for projects. :mod:`.schedules` enables, disables, skips and runs schedules.
"""

from ..limits.overrides import set_limits, set_queue_limits
from . import schedules
from .approvals import answer
from .commands import send as send_command
from .commands import wait as wait_for_answers
from .editing import edit
from .events import awaited_events, send_event
from .jobs import revoke, revoke_workflow, run_now
from .marks import mark
from .moving import move
from .queues import clear_queue, pause_queue, resume_queue
from .reencryption import reencrypt
from .retrying import retry
from .stacks import stack

__all__ = [
    "answer",
    "awaited_events",
    "clear_queue",
    "edit",
    "mark",
    "move",
    "pause_queue",
    "reencrypt",
    "resume_queue",
    "retry",
    "revoke",
    "revoke_workflow",
    "run_now",
    "schedules",
    "send_command",
    "send_event",
    "set_limits",
    "set_queue_limits",
    "stack",
    "wait_for_answers",
]
