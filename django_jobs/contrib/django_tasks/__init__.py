"""The backend that runs tasks of ``django.tasks`` as jobs, and of its backport ``django-tasks``."""

from . import checks  # noqa: F401  (registers the system check)
from .backend import DatabaseBackend
from .task import JobTask

__all__ = ["DatabaseBackend", "JobTask"]
