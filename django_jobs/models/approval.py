from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import JSONTextField
from .job import Job


class Approval(models.Model):
    """A question that a job asked a person, and the decision.

    The question is open while an ``EventWait`` has its id. The row is kept as long as the job.
    """

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, db_constraint=False, related_name="approvals"
    )
    # The key of the step that asked.
    key = models.CharField(max_length=220)
    question = models.TextField(_("question"))
    # The permission that a person needs to decide, with its app's label.
    permission = models.CharField(_("permission"), max_length=255)
    choices = JSONTextField(_("choices"), default=list)
    # The further fields for a person: the kind of each, or a list of choices.
    form = JSONTextField(default=dict)
    asked_at = models.DateTimeField(_("asked"))
    decided_at = models.DateTimeField(_("decided"), null=True)
    choice = models.CharField(_("decision"), max_length=100, default="")
    comment = models.TextField(_("comment"), default="")
    answers = JSONTextField(_("answers"), default=dict)
    # A user's name, or what code and links give in its place.
    decided_by = models.CharField(_("decided by"), max_length=200, default="")
    # The number of the signed link that decided: each link decides once.
    link = models.CharField(max_length=32, default="")

    class Meta:
        verbose_name = _("approval")
        verbose_name_plural = _("waiting for people")
        default_permissions = ("view",)
        permissions = [("answer_approval", _("Can answer the questions of jobs"))]

    def __str__(self) -> str:
        return f"{self.job_id} {self.key}"
