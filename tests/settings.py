"""The test project's settings, with job functions of the tests' own and a database of their own."""

import copy
import importlib
import os
import sys
import tempfile
from pathlib import Path

import django

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, DJANGO_JOBS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests", "tests.integration", "tests.shop"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# mysqlclient cannot share a process with other greenlets.
_HAS_GREENLETS = "gevent.monkey" in sys.modules or os.environ.get("TEST_POOL") == "gevent"
if _HAS_GREENLETS and DATABASES["default"]["ENGINE"].endswith("mysql"):
    pymysql = importlib.import_module("pymysql")
    pymysql.install_as_MySQLdb()

# What the integration tests set for the processes that they start.
if "TEST_DATABASE_NAME" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
if "TEST_LEASE_SECONDS" in os.environ:
    lease_seconds = float(os.environ["TEST_LEASE_SECONDS"])
    DJANGO_JOBS = {"LEASE_SECONDS": lease_seconds, "HEARTBEAT_SECONDS": lease_seconds / 4}
if "TEST_GRACE_SECONDS" in os.environ:
    DJANGO_JOBS = {"SHUTDOWN_GRACE_SECONDS": float(os.environ["TEST_GRACE_SECONDS"])}
if "TEST_POOL" in os.environ:
    DJANGO_JOBS = {"WORKER": {"POOL": os.environ["TEST_POOL"]}}
if "TEST_FAIR_BY" in os.environ:
    DJANGO_JOBS = {"QUEUES": {"imports": {"FAIR_BY": os.environ["TEST_FAIR_BY"]}}}
if "TEST_MIDDLEWARE" in os.environ:
    DJANGO_JOBS = {"MIDDLEWARE": [os.environ["TEST_MIDDLEWARE"]]}

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: a database in memory has neither WAL nor a second process.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"django_jobs_test_{os.getpid()}.sqlite3")
    }

# A second database, for queues that live apart.
DATABASES["reports"] = copy.deepcopy(DATABASES["default"])
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    name = DATABASES["default"]["TEST"]["NAME"].replace(".sqlite3", "_reports.sqlite3")
else:
    name = f"test_{DATABASES['default']['NAME']}_reports"
DATABASES["reports"]["TEST"] = {"NAME": name}

# Options of tasks at which Django 6.0 lets no options stand.
DJANGO_JOBS["JOB_OPTIONS"] = {"tests.tasks.tell_again*": {"autoretry_for": [OSError]}}

# Tasks of django.tasks, or of its backport on Django 5.2, which are jobs here.
_TASKS = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
if _TASKS == "django_tasks":
    INSTALLED_APPS.append(_TASKS)
_DATABASE = "django_jobs.contrib.django_tasks.DatabaseBackend"
TASKS = {
    "default": {"BACKEND": _DATABASE, "QUEUES": ["default", "mail"]},
    "reports": {"BACKEND": _DATABASE, "QUEUES": ["reports"], "OPTIONS": {"max_retries": 9}},
    "immediate": {"BACKEND": f"{_TASKS}.backends.immediate.ImmediateBackend", "QUEUES": []},
    "dummy": {"BACKEND": f"{_TASKS}.backends.dummy.DummyBackend", "QUEUES": []},
}
