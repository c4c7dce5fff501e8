"""The ``DJANGO_JOBS`` setting as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from .suggest import did_you_mean

SETTING = "DJANGO_JOBS"

DAY = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The keys of ``DJANGO_JOBS``, which are these names in upper case, with their defaults."""

    #: Alias of the database that holds the jobs.
    database: str = "default"
    #: Run jobs in the caller's process, without rows. With ``"raise"`` the calls raise the jobs'
    #: exceptions.
    eager: bool | Literal["raise"] = False
    #: Queue of job functions without ``queue=``.
    default_queue: str = "default"
    #: A dict for each queue, by its name: ``MAX_PENDING`` (with more pending jobs, enqueuing raises
    #: ``QueueFull``), ``DATABASE`` (alias of the database that holds the queue's jobs),
    #: ``CONCURRENCY`` (most jobs of the queue that run at once), ``RATE_LIMIT`` (as in ``@job``),
    #: ``FAIR_BY`` (the name of a parameter or a header, or a function: its values take turns) and
    #: ``WEIGHTS`` (jobs in the turn of each value).
    queues: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    #: A dict from globs of job names to ``{"queue": ..., "priority": ...}``, or a list of such
    #: dicts and callables; the first match wins.
    routes: Any = dataclasses.field(default_factory=dict)
    #: A dict from globs of job names to options of ``@job``, for the job functions that do not set
    #: them. All globs that match count; for one option the most specific glob wins.
    job_options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    #: Modules with job functions that are imported at start, besides each app's ``jobs`` and
    #: ``tasks``.
    imports: Sequence[str] = ()
    #: Dotted paths of functions without arguments. Each returns a dict of headers for every job
    #: that is enqueued.
    headers: Sequence[str] = ()
    #: Dotted paths of functions that take the running job and return a context manager, which is
    #: entered around the hooks and the body of each attempt; the first one is the outermost.
    middleware: Sequence[str] = ()
    #: Seconds, or a timedelta, for which SUCCESS and REVOKED jobs are kept; None: for ever.
    result_expires: float | None = DAY
    #: The same for FAILURE jobs.
    failure_expires: float | None = 7 * DAY
    #: Largest arguments of one job, in bytes of JSON.
    max_payload_bytes: int = 256 * 1024
    #: Largest result of one job, in bytes of JSON.
    max_result_bytes: int = 1024 * 1024
    #: Seconds between two heartbeats of a worker.
    heartbeat_seconds: float = 10.0
    #: Seconds after which a worker without a heartbeat is dead, by the database's clock.
    lease_seconds: float = 60.0
    #: After this many crashes of its worker process a job ends as FAILURE ``WorkerLost``.
    max_crashes: int = 3
    #: Seconds for which a warm stop waits for running jobs before it becomes a cold stop.
    shutdown_grace_seconds: float = 30.0
    #: Further parts of names of arguments whose values are never shown, in any case.
    sensitive_names: Sequence[str] = ()
    #: Keys of Fernet for ``@job(encrypt=...)``. The first one encrypts, and all of them decrypt.
    encryption_keys: Sequence[str] = dataclasses.field(default=(), repr=False)
    #: The bearer token that Prometheus sends to read the metrics, at least 16 characters. None:
    #: only users with the permission ``view_measurement`` can read them.
    metrics_token: str | None = None
    #: Lets other programs enqueue by a signed POST to ``enqueue`` of ``django_jobs.urls``:
    #: ``{"SECRETS": [...], "JOBS": [...]}``, the secrets that may sign, and globs of the names of
    #: the jobs that may be enqueued. Empty: it is 404.
    enqueue_url: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    #: Whether ``health/live`` and ``health/ready`` of ``django_jobs.urls`` answer everybody. They
    #: are 404 otherwise.
    health_urls: bool = False
    #: Whether the pages of the admin take tokens of ``manage.py jobs token``, to read them as JSON
    #: and to call their actions.
    api_tokens: bool = False
    #: Whom workers tell of alerts: ``{"MAIL_ADMINS": True, "WEBHOOK": "https://…", "AFTER": 60}``.
    #: ``WEBHOOK`` takes Slack's format; ``AFTER`` is how many seconds an alert lasts before. Empty:
    #: nobody.
    alerts: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    #: Schedules in code, by name: ``{"job": ..., "schedule": ..., "args": ..., "kwargs": ...}``
    #: and the options of a schedule.
    schedules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Defaults of ``runworker``'s flags, by their names in upper case: ``{"CONCURRENCY": 4}``.
    worker: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_KINDS: dict[str, tuple[type, ...]] = {
    "database": (str,),
    "eager": (bool,),
    "default_queue": (str,),
    "queues": (Mapping,),
    "routes": (Mapping, list, tuple),
    "job_options": (Mapping,),
    "imports": (list, tuple),
    "headers": (list, tuple),
    "middleware": (list, tuple),
    "result_expires": (int, float, datetime.timedelta, type(None)),
    "failure_expires": (int, float, datetime.timedelta, type(None)),
    "max_payload_bytes": (int,),
    "max_result_bytes": (int,),
    "heartbeat_seconds": (int, float),
    "lease_seconds": (int, float),
    "max_crashes": (int,),
    "shutdown_grace_seconds": (int, float),
    "sensitive_names": (list, tuple),
    "encryption_keys": (list, tuple),
    "metrics_token": (str, type(None)),
    "enqueue_url": (Mapping,),
    "health_urls": (bool,),
    "api_tokens": (bool,),
    "alerts": (Mapping,),
    "schedules": (Mapping,),
    "worker": (Mapping,),
}
_WORDS: dict[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    list: "a list",
    tuple: "a tuple",
    Mapping: "a dict",
    datetime.timedelta: "a timedelta",
    type(None): "None",
}
# Keys whose values are or have secrets.
_SECRET = frozenset({"ALERTS", "ENCRYPTION_KEYS", "ENQUEUE_URL", "METRICS_TOKEN", "SCHEDULES"})
# Texts that a key takes, besides its types.
_TEXTS = {"eager": ("raise",)}
KEYS = tuple(sorted(name.upper() for name in _KINDS))

# Celery's settings about workflows, and what takes their place.
_INSTEAD = {
    "task_allow_error_cb_on_chord_header": "A chord's errback is called once for its header. "
    "To call it for each member, give it to the header: chord(group(...).on_error(f.s()), body).",
}


@functools.cache
def get_settings() -> Settings:
    """Return the project's settings. The system checks report unknown keys and wrong types."""
    given = getattr(django_settings, SETTING, None)
    if not isinstance(given, Mapping):
        return Settings()
    values = {
        key.lower(): value
        for key, value in given.items()
        if key in KEYS and _kind_fits(key.lower(), value)
    }
    for key in ("result_expires", "failure_expires"):
        if isinstance(values.get(key), datetime.timedelta):
            values[key] = values[key].total_seconds()
    return Settings(**values)


def problems(given: object = None) -> list[tuple[str, str]]:
    """Return ``(what is wrong, what to do)`` for each mistake in the setting's shape.

    *given* is what the setting would be; by default that is what it is.
    """
    if given is None:
        given = getattr(django_settings, SETTING, {})
    if not isinstance(given, Mapping):
        return [
            (
                f"{SETTING} must be a dict, got {type(given).__name__}.",
                f"Write {SETTING} = {{...}}.",
            )
        ]
    found = []
    for key, value in given.items():
        if key not in KEYS:
            hint = _INSTEAD.get(str(key).lower()) or did_you_mean(key, KEYS, 1)
            hint = f"{hint} Allowed: {', '.join(KEYS)}.".strip()
            found.append((f"{SETTING} has an unknown key {key!r}.", hint))
        elif not _kind_fits(key.lower(), value):
            kinds = _KINDS[key.lower()]
            texts = [repr(text) for text in _TEXTS.get(key.lower(), ())]
            named = " or ".join([*(kind.__name__ for kind in kinds), *texts])
            shown = type(value).__name__ if key in _SECRET else repr(value)
            hint = "Use " + " or ".join([*(_WORDS[kind] for kind in kinds), *texts]) + "."
            found.append((f"{SETTING}[{key!r}] must be {named}, got {shown}.", hint))
    return found


def _kind_fits(name: str, value: object) -> bool:
    kinds = _KINDS[name]
    if value in _TEXTS.get(name, ()):
        return True
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _clear(*, setting: str, **_: Any) -> None:
    if setting == SETTING:
        get_settings.cache_clear()


setting_changed.connect(_clear)
