"""The states of a job."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """The states of a job. The names are Celery's; WAITING and SCHEDULED are PENDING there."""

    WAITING = "WAITING", _("waiting")
    SCHEDULED = "SCHEDULED", _("scheduled")
    PENDING = "PENDING", _("pending")
    STARTED = "STARTED", _("started")
    RETRY = "RETRY", _("retry")
    SUCCESS = "SUCCESS", _("success")
    FAILURE = "FAILURE", _("failure")
    REVOKED = "REVOKED", _("revoked")


#: The job has ended. Only an operator can make it run again.
ENDED = frozenset({Status.SUCCESS, Status.FAILURE, Status.REVOKED})

#: The job waits for its ``run_at``.
TIMED = frozenset({Status.SCHEDULED, Status.RETRY})

#: No attempt runs, so there is nothing to stop.
QUEUED = (Status.WAITING, Status.SCHEDULED, Status.PENDING, Status.RETRY)
