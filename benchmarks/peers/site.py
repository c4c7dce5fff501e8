"""The settings of peers that are Django apps."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.core.management import call_command

from . import DATABASE_URL


def configure(*apps: str, **more: Any) -> None:
    """Set Django up with the apps of a peer and its settings."""
    parts = urlsplit(DATABASE_URL)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parse_qs(parts.query).get("host", [parts.hostname or ""])[0],
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 600,
    }
    settings.configure(
        SECRET_KEY="only-for-measuring",  # noqa: S106
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", *apps],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        **more,
    )
    django.setup()


def migrate() -> None:
    call_command("migrate", verbosity=0)
