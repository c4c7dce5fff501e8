"""Traces and metrics of jobs for OpenTelemetry: ``DjangoJobsInstrumentor().instrument()``.

The names are those of OpenTelemetry's semantic conventions for messaging, version 1.44.0 (status:
Development), https://opentelemetry.io/docs/specs/semconv/messaging/. Names of our own begin with
``django_jobs.``. Needs ``pip install 'django-background-jobs[opentelemetry]'``; the SDK and its
exporters are the project's.
"""

from django.core.exceptions import ImproperlyConfigured

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401
except ImportError as error:
    raise ImproperlyConfigured(
        "django_jobs.contrib.opentelemetry needs opentelemetry-api. Run "
        "pip install 'django-background-jobs[opentelemetry]'."
    ) from error

from . import checks  # noqa: F401  (registers the system check)
from .instrumentor import DjangoJobsInstrumentor

__all__ = ["DjangoJobsInstrumentor"]
