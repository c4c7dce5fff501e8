from django.core.validators import FileExtensionValidator
from django.db import models

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif")


class Picture(models.Model):
    title = models.CharField(max_length=200)
    # The job decides whether the content is a picture, so that the visitor need not wait.
    original = models.FileField(
        upload_to="pictures/%Y/%m", validators=[FileExtensionValidator(SUFFIXES)]
    )
    thumbnail = models.FileField(blank=True, editable=False)
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)
    # The number of a drawn sample, so that it is not drawn twice.
    sample = models.PositiveIntegerField(null=True, unique=True, editable=False)
    job_id = models.UUIDField(null=True, editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title
