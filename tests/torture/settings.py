"""Settings of the processes that are tortured, with few apps, so that they start soon.

An older release runs with them too (:mod:`tests.torture.versions`): they use only what it knows.
"""

import json
import os

import environ

SECRET_KEY = "torture"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_jobs",
    "tests.torture",
]
DATABASES = {"default": environ.Env().db_url("DATABASE_URL", default="sqlite:///:memory:")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DATABASES["default"] |= json.loads(os.environ.get("TORTURE_DATABASE", "{}"))
# What :mod:`tests.torture.features` needs: a key, and a queue whose customers take turns.
DJANGO_JOBS = {
    "IMPORTS": ["tests.torture.features"],
    "ENCRYPTION_KEYS": ["cNw7nXhEBIX2YZDl3f0xQyCd0Ua1VvQm2q0lFyEJd3o="],
    "QUEUES": {"fair": {"FAIR_BY": "customer"}},
} | json.loads(os.environ.get("TORTURE_JOBS", "{}"))
