from __future__ import annotations

from collections.abc import Sequence

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..db import clock
from ..ids import uuid7
from .fields import OneKindField


class WorkerQuerySet(models.QuerySet["Worker"]):
    def live(self) -> WorkerQuerySet:
        return self.filter(stopped_at=None, lost_at=None, lease_until__gte=clock(self.db))

    def executing(self) -> WorkerQuerySet:
        """Processes that run jobs."""
        return self.exclude(pool=Worker.BEAT)


_FromQuerySet = models.Manager.from_queryset(WorkerQuerySet)


class WorkerManager(_FromQuerySet["Worker"]):
    def get_queryset(self) -> WorkerQuerySet:
        # The names of all job functions, in the row of each of a thousand workers.
        return WorkerQuerySet(self.model, using=self._db).defer("details", "samples")


class Worker(models.Model):
    """One process that executes jobs; alive while its lease runs, by the database's clock.

    A beat has a row too, with :attr:`BEAT` as its pool and no slots.
    """

    #: The pool of a process that fires schedules and runs no job.
    BEAT = "beat"
    #: The pool of a worker in a web process: threads.
    EMBEDDED = "embedded"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=200)
    hostname = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    pool = models.CharField(_("pool"), max_length=20)
    slots = models.IntegerField(_("slots"), default=1)
    busy = models.IntegerField(_("busy slots"), default=0)
    #: Queues it serves; none means every queue but the excluded ones.
    queues = OneKindField(_("queues"), default=list)
    exclude_queues = OneKindField(_("excluded queues"), default=list)
    #: The same for all processes of one ``runworker``; null without a supervisor.
    supervisor_id = models.UUIDField(null=True)
    #: ``conf``: what it was started with; ``registered``: its job functions. Loaded when asked for.
    details = OneKindField(default=dict)
    version = models.CharField(_("version"), max_length=50, default="")
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("heartbeat"))
    lease_until = models.DateTimeField(_("lease until"))
    #: When it was told to stop. If it is killed after that, its jobs are not to blame.
    stopping_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(_("stopped"), null=True)
    lost_at = models.DateTimeField(_("lost"), null=True)
    quiet = models.BooleanField(_("quiet"), default=False)
    jobs_done = models.BigIntegerField(_("jobs done"), default=0)
    memory_bytes = models.BigIntegerField(_("memory"), null=True)
    #: The past hour: ``[MiB, busy slots]`` of each minute, the newest last. Loaded when asked for.
    samples = OneKindField(default=list, null=True)

    objects = WorkerManager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        permissions = [("control_worker", _("Can control workers"))]
        indexes = [models.Index(fields=["lease_until"], name="django_jobs_worker_lease")]

    def __str__(self) -> str:
        return self.name

    def serves(self, queue: str) -> bool:
        """Tell whether it takes jobs of *queue*, unless it is quiet."""
        return serves(self.pool, self.queues, self.exclude_queues, queue)


def serves(pool: str, queues: Sequence[str], excluded: Sequence[str], queue: str) -> bool:
    """Tell whether a worker of *pool* takes jobs of *queue*, unless it is quiet."""
    if pool == Worker.BEAT or queue in excluded:
        return False
    return not queues or queue in queues
