"""A site with an embedded worker, as uvicorn loads it."""

import os

from django.core.asgi import get_asgi_application

from django_jobs import embedded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

application = embedded.asgi(get_asgi_application(), queues=["default"], stop_timeout=300)
