"""The tables: jobs, attempts, steps, workers, queues, schedules, limits, measurements."""

from .api_token import ApiToken
from .approval import Approval
from .attempt import Attempt
from .attempt_log import AttemptLog
from .bulk_change import BulkChange
from .command import Command
from .edge import Edge
from .event import Event, EventWait
from .job import Job, JobQuerySet
from .lease import Lease
from .limit import Limit, LimitLock, Permit, Reservation, UniqueKey
from .mark import Mark
from .measurement import Measurement
from .page import Dashboard, Function
from .queues import Queue
from .raised_alert import RaisedAlert
from .schedule import Schedule
from .step import Step
from .worker import Worker, WorkerQuerySet

__all__ = [
    "ApiToken",
    "Approval",
    "Attempt",
    "AttemptLog",
    "BulkChange",
    "Command",
    "Dashboard",
    "Edge",
    "Event",
    "EventWait",
    "Function",
    "Job",
    "JobQuerySet",
    "Lease",
    "Limit",
    "LimitLock",
    "Mark",
    "Measurement",
    "Permit",
    "Queue",
    "RaisedAlert",
    "Reservation",
    "Schedule",
    "Step",
    "UniqueKey",
    "Worker",
    "WorkerQuerySet",
]
