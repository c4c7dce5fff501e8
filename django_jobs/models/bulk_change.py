from __future__ import annotations

from django.db import models

from .fields import OneKindField


class BulkChange(models.Model):
    """An operation on many jobs that a user of the admin confirmed, and how far it is.

    The background job with the same id performs it. What the operation does stands here and not in
    the arguments of that job: who may enqueue or edit jobs cannot make one up.
    """

    #: The id of the background job.
    id = models.UUIDField(primary_key=True, editable=False)
    #: The name of the operation in the admin.
    operation = models.CharField(max_length=30)
    #: What it needs besides the jobs, such as the queue of a move.
    target = OneKindField(default=dict)
    #: The user's primary key, as text. The user may be in another database.
    user_key = models.CharField(max_length=255)
    #: The permission that the user must still have when it runs; empty if the admin class did not
    #: ask for it.
    permission = models.CharField(max_length=255)
    #: The ids of the chosen jobs, 16 bytes each; empty at the end.
    job_ids = models.BinaryField()
    #: How many of them it went through, and how many of these it changed.
    position = models.IntegerField(default=0)
    changed = models.IntegerField(default=0)
    #: How many it skipped, by reason.
    skipped = OneKindField(default=dict)
    #: The last row of the admin's log before it.
    log_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"
