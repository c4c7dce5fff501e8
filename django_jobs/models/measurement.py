from django.db import models

from .fields import JSONTextField


class Measurement(models.Model):
    """What one worker did for one job function of a queue in a minute (rolled up: an hour)."""

    worker_id = models.UUIDField(null=True)
    starts_at = models.DateTimeField()
    seconds = models.IntegerField(default=60)
    queue = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0)
    revoked = models.BigIntegerField(default=0)
    wait_seconds = models.FloatField(default=0)
    run_seconds = models.FloatField(default=0)
    longest_run_seconds = models.FloatField(default=0)
    wait_histogram = JSONTextField(default=list)
    run_histogram = JSONTextField(default=list)

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["seconds", "starts_at"], name="django_jobs_measured")]

    def __str__(self) -> str:
        return f"{self.name} {self.starts_at}"
