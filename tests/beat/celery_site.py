"""Settings of a site that moves from Celery, run by :mod:`tests.beat.test_celery_beat`."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat"]
DATABASES["default"]["TEST"] = {}
