from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..define.rates import parse


def validate_rate(text: str) -> None:
    """Raise ``ValidationError`` for a text that is no rate limit."""
    try:
        parse(text)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class Limit(models.Model):
    """The limits that an operator set for a job function, or for one key of it.

    ``key`` is one of :mod:`django_jobs.define.key_values`. A column that is empty leaves the code's
    own limit.
    """

    key = models.CharField(_("key"), max_length=200, primary_key=True)
    concurrency = models.PositiveIntegerField(
        _("most running jobs"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    rate_limit = models.CharField(
        _("rate limit"), max_length=100, default="", blank=True, validators=[validate_rate]
    )

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")

    def __str__(self) -> str:
        return self.key


class LimitLock(models.Model):
    """The row that is locked while permits and starts of a limit are taken or freed."""

    key = models.CharField(max_length=200, primary_key=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key


class Permit(models.Model):
    """A job that runs under a concurrency limit.

    It counts only while the row of the job is STARTED with this number of claims, so none leaks.
    """

    key = models.CharField(max_length=200)
    job_id = models.UUIDField()
    claims = models.IntegerField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["job_id"], name="django_jobs_permit_job")]
        constraints = [
            models.UniqueConstraint(fields=["key", "job_id"], name="django_jobs_permit_once")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.job_id}"


class Reservation(models.Model):
    """The start of a job under a rate limit, or a slot for its start. The ids give the order.

    ``at`` is the latest moment of the start, in seconds since 1970 by the database's clock. A row
    that has not ``started`` is a slot. It counts only while its job may still start.
    """

    key = models.CharField(max_length=200)
    job_id = models.UUIDField()
    at = models.FloatField()
    started = models.BooleanField(default=False)
    #: The number of the claim that started; a job that is claimed again starts again.
    claims = models.IntegerField(default=0)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["job_id"], name="django_jobs_reservation_job"),
            models.Index(fields=["key", "started", "at"], name="django_jobs_reservation_at"),
            models.Index(fields=["key", "started", "id"], name="django_jobs_reservation_line"),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.job_id}"


class UniqueKey(models.Model):
    """The job that holds a unique key.

    The key is taken while that job is live, and after its success until ``until``. So no code has
    to release it.
    """

    key = models.CharField(max_length=64, primary_key=True)
    job_id = models.UUIDField()
    until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
