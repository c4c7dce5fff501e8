from __future__ import annotations

from django.db import models

from .fields import JSONTextField
from .histogram import COUNTS, Errors, Steps, Tally, packed, packed_errors, packed_steps, unpacked


class Measurement(models.Model):
    """Counts of the jobs of one job function in one queue within some seconds.

    Several rows may have the same seconds, for other jobs each; readers add them up. Rows of 60
    seconds are merged into longer ones. A row of :data:`TOTAL` seconds has everything since the
    beginning, so a counter never falls when a row is deleted.
    """

    #: ``seconds`` of the rows that only grow.
    TOTAL = 0

    # Unix time, so that a bucket is a division on every database and in every time zone.
    starts_at = models.BigIntegerField()
    seconds = models.IntegerField(default=60)
    # Whether the row of TOTAL seconds has these numbers too.
    in_total = models.BooleanField(default=False)
    queue = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    sent = models.BigIntegerField(default=0)
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0)
    revoked = models.BigIntegerField(default=0)
    rescued = models.BigIntegerField(default=0)
    wait_seconds = models.FloatField(default=0)
    run_seconds = models.FloatField(default=0)
    longest_run_seconds = models.FloatField(default=0)
    # Of the attempts that ran, if any did.
    shortest_run_seconds = models.FloatField(null=True)
    shortest_wait_seconds = models.FloatField(null=True)
    longest_wait_seconds = models.FloatField(null=True)
    # Numbers of attempts by bucket of histogram.BOUNDS, without the zeros at the end.
    waits = JSONTextField(default=list)
    runs = JSONTextField(default=list)
    # Of the failed: {class: [how many, when the last, its job]}.
    errors = JSONTextField(default=dict)
    # Calls of steps: {function: [done, failed, retried, seconds]}.
    steps = JSONTextField(default=dict, db_default={})

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["seconds", "starts_at"], name="django_jobs_measured")]

    def __str__(self) -> str:
        return f"{self.name} {self.starts_at}"

    @property
    def tally(self) -> Tally:
        """The numbers, without what they are about."""
        return Tally(
            **{name: getattr(self, name) for name in (*COUNTS, *_SECONDS)},
            waits=unpacked(self.waits),
            runs=unpacked(self.runs),
            errors={name: Errors(*values) for name, values in self.errors.items()},
            steps={name: Steps(*values) for name, values in self.steps.items()},
        )

    @tally.setter
    def tally(self, tally: Tally) -> None:
        for name in (*COUNTS, *_SECONDS):
            setattr(self, name, getattr(tally, name))
        self.waits, self.runs = packed(tally.waits), packed(tally.runs)
        self.errors = packed_errors(tally.errors)
        self.steps = packed_steps(tally.steps)


_SECONDS = ("wait_seconds", "run_seconds", "longest_run_seconds", "shortest_run_seconds",
            "shortest_wait_seconds", "longest_wait_seconds")  # fmt: skip
