from django.core.validators import FileExtensionValidator
from django.db import models

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif")


class Picture(models.Model):
    title = models.CharField(max_length=200)
    # Whether the content is a picture is found out by the job, not while the visitor waits.
    original = models.FileField(
        upload_to="pictures/%Y/%m", validators=[FileExtensionValidator(SUFFIXES)]
    )
    thumbnail = models.FileField(blank=True, editable=False)
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)
    # Of a picture that the site drew itself: drawing it again finds it.
    sample = models.PositiveIntegerField(null=True, unique=True, editable=False)
    job_id = models.UUIDField(null=True, editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title
