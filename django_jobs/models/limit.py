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
    """What an operator set for the limits of a job function, or of one key of it, in their stead.

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


class Gate(models.Model):
    """The row of a limit, which is locked to take or free a place, or a start, of one key."""

    key = models.CharField(max_length=200, primary_key=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key


class Place(models.Model):
    """A job that runs under a concurrency limit.

    It counts only while the job's row is STARTED with this number of claims, so that none can leak.
    """

    key = models.CharField(max_length=200)
    job_id = models.UUIDField()
    claims = models.IntegerField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["job_id"], name="django_jobs_place_job")]
        constraints = [
            models.UniqueConstraint(fields=["key", "job_id"], name="django_jobs_place_once")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.job_id}"


class Reservation(models.Model):
    """When a job under a rate limit started, or may start; they stand in line by their ids.

    ``at`` is in seconds since 1970, by the database's clock: the latest moment of the start. One
    that has not ``started`` is a slot, which counts only while its job may still start.
    """

    key = models.CharField(max_length=200)
    job_id = models.UUIDField()
    at = models.FloatField()
    started = models.BooleanField(default=False)
    #: Which claim of the job started; a job that is claimed again starts again.
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
    """Which job holds a unique key.

    The key is taken while that job is live, and until ``until`` when it succeeded: nothing has to
    release it, so nothing can forget to.
    """

    key = models.CharField(max_length=64, primary_key=True)
    job_id = models.UUIDField()
    until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
