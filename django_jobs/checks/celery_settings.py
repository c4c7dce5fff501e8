"""A check for Celery's settings, which have no effect here."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

# Celery's settings as Django projects write them, and what to use instead.
_CELERY = {
    "CELERY_TASK_ALWAYS_EAGER": "Use DJANGO_JOBS['EAGER'].",
    "CELERY_ALWAYS_EAGER": "Use DJANGO_JOBS['EAGER'].",
    "CELERY_TASK_EAGER_PROPAGATES": "Use DJANGO_JOBS['EAGER'] = 'raise'.",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "Use DJANGO_JOBS['EAGER'] = 'raise'.",
    "CELERY_TASK_ROUTES": "Use DJANGO_JOBS['ROUTES'].",
    "CELERY_ROUTES": "Use DJANGO_JOBS['ROUTES'].",
    "CELERY_TASK_DEFAULT_QUEUE": "Use DJANGO_JOBS['DEFAULT_QUEUE'].",
    "CELERY_DEFAULT_QUEUE": "Use DJANGO_JOBS['DEFAULT_QUEUE'].",
    "CELERY_TASK_QUEUES": "Use DJANGO_JOBS['QUEUES'] for limits; queues need no declaration.",
    "CELERY_RESULT_EXPIRES": "Use DJANGO_JOBS['RESULT_EXPIRES'].",
    "CELERY_TASK_RESULT_EXPIRES": "Use DJANGO_JOBS['RESULT_EXPIRES'].",
    "CELERY_BEAT_SCHEDULE": "Use DJANGO_JOBS['SCHEDULES'].",
    "CELERYBEAT_SCHEDULE": "Use DJANGO_JOBS['SCHEDULES'].",
    "CELERY_TASK_TIME_LIMIT": "Use DJANGO_JOBS['WORKER']['TIME_LIMIT'] or time_limit= of @job.",
    "CELERYD_TASK_TIME_LIMIT": "Use DJANGO_JOBS['WORKER']['TIME_LIMIT'] or time_limit= of @job.",
    "CELERY_TASK_SOFT_TIME_LIMIT": (
        "Use DJANGO_JOBS['WORKER']['SOFT_TIME_LIMIT'] or soft_time_limit= of @job."
    ),
    "CELERYD_TASK_SOFT_TIME_LIMIT": (
        "Use DJANGO_JOBS['WORKER']['SOFT_TIME_LIMIT'] or soft_time_limit= of @job."
    ),
    "CELERY_WORKER_CONCURRENCY": "Use DJANGO_JOBS['WORKER']['CONCURRENCY'].",
    "CELERYD_CONCURRENCY": "Use DJANGO_JOBS['WORKER']['CONCURRENCY'].",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD": "Use DJANGO_JOBS['WORKER']['MAX_JOBS_PER_CHILD'].",
    "CELERYD_MAX_TASKS_PER_CHILD": "Use DJANGO_JOBS['WORKER']['MAX_JOBS_PER_CHILD'].",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "There is nothing to tune: waiting jobs are given back.",
    "CELERY_TASK_ACKS_LATE": "It is the default; acks_late=False of @job turns it off.",
    "CELERY_TASK_IGNORE_RESULT": "Use ignore_result= of @job.",
}


@checks.register("django_jobs")
def check_celery_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of each of Celery's settings that the project still has."""
    return [
        checks.Warning(
            f"The setting {name} is Celery's, and django_jobs does not read it.",
            hint=f"{hint} Remove {name} once no Celery worker needs it.",
            id="django_jobs.W005",
        )
        for name, hint in _CELERY.items()
        if hasattr(settings, name)
    ]
