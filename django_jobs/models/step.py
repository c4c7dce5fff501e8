from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField
from .job import Job


class Step(models.Model):
    """A record of a job under one key: a later run of the job does not do it again.

    Only the run that has the job's fencing token writes the rows of a running job.
    """

    class State(models.TextChoices):
        DONE = "DONE", _("done")
        # It raised its last try. The next run of the job calls it again.
        FAILED = "FAILED", _("failed")
        # It raised, and the body went on: every later run gets the same exception.
        CAUGHT = "CAUGHT", _("failed, and the job went on")
        # It raised, and is called again at wake_at.
        RETRY = "RETRY", _("waits for a retry")
        # The job is suspended until something outside of it happens, or until wake_at.
        WAITING = "WAITING", _("waiting")
        # An iteration that is not at its end.
        OPEN = "OPEN", _("in progress")

    class Kind(models.TextChoices):
        CALL = "call", _("call")
        SLEEP = "sleep", _("sleep")
        ITERATION = "iteration", _("iteration")
        EVENT = "event", _("event")
        APPROVAL = "approval", _("approval")

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="steps"
    )
    #: With ``#2`` behind it when the body uses it for the second time.
    key = models.CharField(_("key"), max_length=220)
    #: The order of the first use, from 1 on.
    position = models.IntegerField()
    kind = models.CharField(_("kind"), max_length=20)
    #: The function for which the code must ask under this key when the job runs again.
    function = models.CharField(_("function"), max_length=255, default="")
    state = models.CharField(_("state"), max_length=9, choices=State.choices)
    result = JSONTextField(_("result"), null=True)
    #: A dict of further data, which its kind decides.
    data = JSONTextField(null=True)
    #: How often it raised since it was last begun anew.
    tries = models.IntegerField(default=0)
    #: The job's number of claims when the row was written.
    claims = models.IntegerField()
    began_at = models.DateTimeField(_("began"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    wake_at = models.DateTimeField(_("waits until"), null=True)
    error_class = models.CharField(_("error"), max_length=255, default="")
    error_message = models.TextField(_("message"), default="")
    traceback = models.TextField(_("traceback"), default="")

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        default_permissions = ("view",)
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "key"], name="django_jobs_step_key"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.key}"
