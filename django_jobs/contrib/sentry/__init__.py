"""Sends errors, traces and check-ins of jobs to Sentry: the extra ``sentry``.

``sentry_sdk.init(integrations=[DjangoJobsIntegration()])`` in the settings is all that it needs.
"""

try:
    import sentry_sdk  # noqa: F401
except ImportError as error:
    raise ImportError(
        "django_jobs.contrib.sentry needs sentry-sdk: pip install 'django-background-jobs[sentry]'."
    ) from error

from .integration import DjangoJobsIntegration

__all__ = ["DjangoJobsIntegration"]
