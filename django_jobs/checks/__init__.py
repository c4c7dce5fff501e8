"""The system checks of ``manage.py check``; the app imports them at start."""

from .celery_settings import check_celery_settings
from .command_names import check_command_names
from .database import check_database
from .functions import check_annotations, check_job_options, check_schedules
from .settings import check_settings

__all__ = [
    "check_annotations",
    "check_celery_settings",
    "check_command_names",
    "check_database",
    "check_job_options",
    "check_schedules",
    "check_settings",
]
