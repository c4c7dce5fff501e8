from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField
from .job import Job


class Event(models.Model):
    """An event that was sent. A job that waits for its name takes it; the ids give the order."""

    name = models.CharField(_("name"), max_length=200)
    payload = JSONTextField(_("payload"), null=True)
    # Each job that waits takes it, and the row stays. Otherwise the first job deletes the row.
    broadcast = models.BooleanField(_("broadcast"), default=False)
    # No look for waiting jobs came after its commit yet. Such a row does not expire.
    is_new = models.BooleanField(default=True)
    sent_at = models.DateTimeField(_("sent"))
    expires_at = models.DateTimeField(_("kept until"))

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ()
        permissions = [("send_event", _("Can send events"))]
        indexes = [
            models.Index(fields=["name", "id"], name="django_jobs_event_name"),
            models.Index(fields=["is_new", "id"], name="django_jobs_event_new"),
            models.Index(fields=["expires_at"], name="django_jobs_event_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"


class EventWait(models.Model):
    """A step of a WAITING job that waits for an event or for a person; the ids give the order.

    The transaction that makes the job WAITING writes the row. The transaction that ends the wait
    deletes it, under the lock of the job.
    """

    job = models.ForeignKey(
        Job,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,  # the constraint's index begins with it
        related_name="event_waits",
    )
    # The key of the step.
    key = models.CharField(max_length=220)
    # Empty if it waits for a person.
    name = models.CharField(_("event"), max_length=200)
    approval_id = models.BigIntegerField(null=True)
    # No look for kept events came after its commit yet.
    is_new = models.BooleanField(default=True)
    until = models.DateTimeField(_("waits until"), null=True)
    # The job stores its results encrypted.
    encrypts = models.BooleanField(default=False)
    # The ids of the broadcasts that earlier steps of the job took.
    seen = JSONTextField(default=list)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["name", "id"], name="django_jobs_eventwait_name"),
            models.Index(fields=["is_new", "id"], name="django_jobs_eventwait_new"),
            models.Index(fields=["until"], name="django_jobs_eventwait_until"),
            models.Index(fields=["approval_id"], name="django_jobs_eventwait_asked"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "key"], name="django_jobs_eventwait_once")
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.key}: {self.name or self.approval_id}"
