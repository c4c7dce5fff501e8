"""The states of a job."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Where a job stands in its life; the names are Celery's, plus the two it hides in PENDING."""

    WAITING = "WAITING", _("waiting")
    SCHEDULED = "SCHEDULED", _("scheduled")
    PENDING = "PENDING", _("pending")
    STARTED = "STARTED", _("started")
    RETRY = "RETRY", _("retry")
    SUCCESS = "SUCCESS", _("success")
    FAILURE = "FAILURE", _("failure")
    REVOKED = "REVOKED", _("revoked")


#: A job in one of these has ended, finally: only an operator's action changes it again.
ENDED = frozenset({Status.SUCCESS, Status.FAILURE, Status.REVOKED})

#: A job in one of these waits for its ``run_at``.
TIMED = frozenset({Status.SCHEDULED, Status.RETRY})

#: A job in one of these has not begun: nothing runs that would have to be stopped.
QUEUED = (Status.WAITING, Status.SCHEDULED, Status.PENDING, Status.RETRY)
