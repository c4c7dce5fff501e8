"""Settings of the measured processes; the harness sets DATABASE_URL."""

import environ

env = environ.Env()

DEBUG = False
SECRET_KEY = env.str("SECRET_KEY", default="only-for-measuring")
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_jobs", "benchmarks"]
DATABASES = {"default": env.db_url("DATABASE_URL", default="sqlite://:memory:")}
# Otherwise Celery would reconnect for each task, which would dominate its results.
DATABASES["default"]["CONN_MAX_AGE"] = 600
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
