from __future__ import annotations

from typing import Any

from django.db import connections, models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Left
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from ..ids import uuid7
from ..status import ENDED, Status
from .fields import JSONTextField, MomentField, NegatedField


def _literal(status: Status) -> RawSQL:
    # SQLite takes a partial index only for a condition with constants, not with parameters.
    return RawSQL(f"'{status.value}'", [])


class JobQuerySet(models.QuerySet["Job"]):
    def update(self, **kwargs: Any) -> int:
        if "priority" in kwargs:
            kwargs["rank"] = -kwargs.pop("priority")
        return super().update(**kwargs)

    def ready(self) -> JobQuerySet:
        return self.filter(status=_literal(Status.PENDING))

    def running(self) -> JobQuerySet:
        running = self.filter(status=_literal(Status.STARTED))
        if connections[self.db].vendor == "postgresql":
            # Spelled as the index of running jobs is, which hides from record (see 0001_initial).
            running = running.filter(Exact(Left("status", 7), Status.STARTED.value))
        return running

    def timed(self) -> JobQuerySet:
        return self.filter(status__in=[_literal(Status.SCHEDULED), _literal(Status.RETRY)])

    def ended(self) -> JobQuerySet:
        return self.filter(status__in=ENDED)

    def live(self) -> JobQuerySet:
        return self.exclude(status__in=ENDED)


class Job(models.Model):
    """One call of a job function, from its enqueue to its end."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("job function"), max_length=255)
    queue = models.CharField(_("queue"), max_length=100)
    # The negated priority: the claim's ORDER BY (rank, id) is ascending, as its index is.
    rank = models.SmallIntegerField(default=0, db_default=0)
    priority = NegatedField(_("priority"), of="rank")
    status = models.CharField(_("status"), max_length=9, choices=Status.choices)
    args = JSONTextField(_("arguments"), default=list)
    kwargs = JSONTextField(_("keyword arguments"), default=dict)
    headers = JSONTextField(_("headers"), null=True)
    # See django_jobs.define.row_options.
    options = JSONTextField(null=True)

    enqueued_at = models.DateTimeField(_("enqueued"))
    run_at = MomentField(_("scheduled for"), null=True)
    ready_at = models.DateTimeField(_("ready"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    expires_at = MomentField(_("expires"), null=True)
    prune_at = MomentField(null=True)

    # How often it was claimed: with worker_id the fencing token. See "attempt" for the number that
    # people see.
    claims = models.IntegerField(default=0, db_default=0)
    retries = models.IntegerField(_("retries"), default=0, db_default=0)
    crashes = models.SmallIntegerField(_("crashes"), default=0, db_default=0)
    # How often a worker gave it back because it could not run it (its code lacks the function).
    deferrals = models.SmallIntegerField(default=0, db_default=0)
    worker_id = models.UUIDField(null=True)

    result = JSONTextField(_("result"), null=True)
    progress = JSONTextField(_("progress"), null=True)
    error_class = models.CharField(_("error"), max_length=255, default="", db_default="")
    error_message = models.TextField(_("message"), default="", db_default="")

    root_id = models.UUIDField(null=True)
    parent_id = models.UUIDField(null=True)
    group_id = models.UUIDField(null=True)
    schedule_id = models.BigIntegerField(null=True)
    pending_parents = models.IntegerField(default=0, db_default=0)
    has_dependents = models.BooleanField(default=False, db_default=False)
    unique_key = models.CharField(max_length=64, null=True)
    # The key of the limit that a WAITING job without unfinished parents waits for. It stays while
    # the job is PENDING after it was woken, until the job takes a permit.
    waiting_for = models.CharField(max_length=200, null=True)
    # The key by which it takes turns in a fair queue: see django_jobs.define.fairness. Jobs of
    # other queues have none.
    fair_key = models.CharField(max_length=200, null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        default_permissions = ("view", "delete")
        permissions = [
            ("retry_job", _("Can retry jobs")),
            ("revoke_job", _("Can revoke jobs")),
            ("run_job", _("Can run scheduled jobs at once")),
            ("enqueue_job", _("Can enqueue jobs")),
            ("move_job", _("Can move jobs to another queue or priority")),
            ("edit_job", _("Can edit jobs that have not begun")),
            ("view_stack", _("Can view the stacks of running jobs")),
            ("view_encrypted_job", _("Can view encrypted values of jobs")),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"

    @property
    def is_deferred(self) -> bool:
        """Whether it waits for a worker that can run it; its error is the reason."""
        waits = self.status in (Status.SCHEDULED, Status.PENDING)
        return waits and self.deferrals > 0 and self.error_class != ""

    @property
    def attempt(self) -> int:
        """The number of its attempt, retries + 1; 0 before the first one begins.

        While the job waits for a retry, it is the number of the next attempt.
        """
        none_began = self.started_at is None or self.is_deferred
        return 0 if none_began and not self.retries and not self.crashes else self.retries + 1

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED
