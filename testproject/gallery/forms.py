from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import FileExtensionValidator

from .models import SUFFIXES

MAX_BYTES = 20 * 1024 * 1024
MAX_FILES = 50


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    widget = ManyFilesInput

    def clean(self, data: object, initial: object = None) -> list[UploadedFile]:
        files = data if isinstance(data, (list, tuple)) and data else [data]
        if len(files) > MAX_FILES:
            raise ValidationError(f"At most {MAX_FILES} pictures at a time, got {len(files)}.")
        return [self._clean_one(file, initial) for file in files]

    def _clean_one(self, data: object, initial: object) -> UploadedFile:
        file = super().clean(data, initial)
        if file.size > MAX_BYTES:
            raise ValidationError(f"{file.name} is larger than {MAX_BYTES // 1024**2} MB.")
        return file


class UploadForm(forms.Form):
    files = ManyFilesField(
        label="Pictures from your computer",
        validators=[FileExtensionValidator(SUFFIXES)],
        help_text=f"JPEG, PNG, WebP or GIF, up to {MAX_BYTES // 1024**2} MB each.",
    )
    files.widget.attrs["accept"] = ",".join(f".{suffix}" for suffix in SUFFIXES)
