"""Dashboard, approvals, job functions, jobs, queues, schedules and workers in the Django admin.

Each admin is a mixin, which a project can put on another base class::

    admin.site.unregister(Job)

    @admin.register(Job)
    class MyJobAdmin(JobAdminMixin, TheirModelAdmin): ...
"""

from django.contrib import admin

from ..models import Approval, Dashboard, Function, Job, Queue, Schedule, Worker
from .approvals import ApprovalAdmin, ApprovalAdminMixin
from .dashboard import DashboardAdmin, DashboardAdminMixin
from .function import FunctionAdmin, FunctionAdminMixin
from .job import JobAdmin, JobAdminMixin
from .queues import QueueAdmin, QueueAdminMixin
from .schedule import ScheduleAdmin, ScheduleAdminMixin
from .worker import WorkerAdmin, WorkerAdminMixin

__all__ = [
    "ApprovalAdmin",
    "ApprovalAdminMixin",
    "DashboardAdmin",
    "DashboardAdminMixin",
    "FunctionAdmin",
    "FunctionAdminMixin",
    "JobAdmin",
    "JobAdminMixin",
    "QueueAdmin",
    "QueueAdminMixin",
    "ScheduleAdmin",
    "ScheduleAdminMixin",
    "WorkerAdmin",
    "WorkerAdminMixin",
]

admin.site.register(Approval, ApprovalAdmin)
admin.site.register(Dashboard, DashboardAdmin)
admin.site.register(Function, FunctionAdmin)
admin.site.register(Job, JobAdmin)
admin.site.register(Queue, QueueAdmin)
admin.site.register(Schedule, ScheduleAdmin)
admin.site.register(Worker, WorkerAdmin)
