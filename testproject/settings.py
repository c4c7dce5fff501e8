"""Settings of a small real site; environment variables hold what differs between machines."""

from pathlib import Path

import django
import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env.str("SECRET_KEY", default="only-for-the-demo")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["*"])
#: The address for links in mails: the worker that writes a mail has no request.
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_jobs",
    "testproject.website",
    "testproject.gallery",
    "testproject.accounts",
    "testproject.airports",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "testproject.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR}/db.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # WAL allows readers beside a writer; IMMEDIATE takes the write lock before the first read.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DJANGO_JOBS = {
    # `manage.py jobs token make admin NAME` makes one for the HTTP API.
    "API_TOKENS": True,
    # Run jobs inline instead of in a worker.
    "EAGER": env.bool("JOBS_EAGER", default=False),
    # A comparison has dozens of jobs, so all other jobs go first.
    "ROUTES": {"testproject.airports.jobs.compare_airports": {"priority": -10}},
}
#: How often the source of the country report fails, from 0 (never) to 1 (always).
REPORT_FAILURE_RATE = env.float("REPORT_FAILURE_RATE", default=0.5)

STATIC_URL = "static/"
# Pictures and mails are stored here.
DEMO_DIR = Path(env.str("DEMO_DIR", default=str(BASE_DIR / "demo")))
MEDIA_URL = "media/"
MEDIA_ROOT = DEMO_DIR / "media"
MAIL_DIR = DEMO_DIR / "mail"
MAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": MAIL_BACKEND, "OPTIONS": {"file_path": str(MAIL_DIR)}}}
else:
    EMAIL_BACKEND, EMAIL_FILE_PATH = MAIL_BACKEND, MAIL_DIR
DEFAULT_FROM_EMAIL = "The demo site <demo@example.com>"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"

# Django's default, without the status requests that open pages send every second.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"not_polling": {"()": "testproject.website.log_filters.NotPolling"}},
    "formatters": {
        "server": {
            "()": "django.utils.log.ServerFormatter",
            "format": "[{server_time}] {message}",
            "style": "{",
        }
    },
    "handlers": {
        "server": {
            "class": "logging.StreamHandler",
            "filters": ["not_polling"],
            "formatter": "server",
        }
    },
    "loggers": {"django.server": {"handlers": ["server"], "level": "INFO", "propagate": False}},
}
LANGUAGE_CODE = "en"
USE_TZ = env.bool("USE_TZ", default=True)
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
