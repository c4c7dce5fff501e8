from __future__ import annotations

from django.db import models

from .fields import OneKindField


class BulkChange(models.Model):
    """An operation on many jobs that a user of the admin confirmed, and how far it is.

    The background job with the same id performs it. This row names the operation. The arguments of
    that job do not, because users who may enqueue or edit jobs could forge them.
    """

    #: The id of the background job.
    id = models.UUIDField(primary_key=True, editable=False)
    #: The name of the operation in the admin.
    operation = models.CharField(max_length=30)
    #: The operation's arguments besides the jobs, such as the queue of a move.
    target = OneKindField(default=dict)
    #: The user's primary key, as text. The user may be in another database.
    user_key = models.CharField(max_length=255)
    #: The permission that the user must still have when it runs; empty if the admin class did not
    #: ask for it.
    permission = models.CharField(max_length=255)
    #: The ids of the chosen jobs, 16 bytes each; empty at the end.
    job_ids = models.BinaryField()
    #: How many jobs it went through, and how many of these it changed.
    position = models.IntegerField(default=0)
    changed = models.IntegerField(default=0)
    #: How many jobs it skipped, by reason.
    skipped = OneKindField(default=dict)
    #: The last row of the admin's log before it.
    log_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"
