"""A site with an embedded worker, as gunicorn and runserver load it."""

import os

from django.core.wsgi import get_wsgi_application

from django_jobs import embedded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

application = get_wsgi_application()

# Job functions of other queues have limits that threads cannot keep.
options = {"queues": ["default"], "stop_timeout": float(os.environ.get("TEST_STOP_TIMEOUT", 300))}
worker = embedded.start(**options)  # type: ignore[arg-type]
assert embedded.start(**options) is worker  # type: ignore[arg-type]
