"""Celery's settings, and what takes their place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .table import Rule, find, rule

_NO_BROKER = "None: there is no broker"
_NO_BACKEND = "None: a job's row has its result"

#: By Celery's lower-case names. The first rule that matches counts.
SETTINGS: tuple[Rule, ...] = (
    rule("broker_url broker_read_url broker_write_url result_backend",
        "None: the database is both. ``DJANGO_JOBS['DATABASE']`` names another than ``default``."),
    rule("broker_connection_retry broker_connection_retry_on_startup broker_connection_max_retries",
        "None: a worker waits for the database, at its start and later"),
    rule("broker_transport_options broker_pool_limit result_backend_transport_options",
        "None: Django's ``DATABASES``. For ``visibility_timeout`` there is "
        "``DJANGO_JOBS['LEASE_SECONDS']``, for a worker: a job may run for any time."),
    rule("result_backend_always_retry result_backend_max_retries result_backend_*",
        "None: the worker writes a result until the database has it"),
    rule("task_default_queue", "``DJANGO_JOBS['DEFAULT_QUEUE']``"),
    rule("task_queues", "``DJANGO_JOBS['QUEUES']`` for limits; a queue is a name and needs no "
        "declaration"),
    rule("task_create_missing_queues task_create_missing_queue_*", "None: a queue is a name"),
    rule("task_default_exchange task_default_exchange_type task_default_routing_key "
        "task_default_queue_type", "None: a queue is a name"),
    rule("task_routes", "``DJANGO_JOBS['ROUTES']``, with ``queue`` and ``priority``"),
    rule("task_default_priority task_default_rate_limit task_queue_max_priority",
        "``priority=`` and ``rate_limit=`` of ``@job`` or of ``DJANGO_JOBS['JOB_OPTIONS']``; for a "
        "queue ``DJANGO_JOBS['ROUTES']`` and ``['QUEUES']``"),
    rule("task_serializer result_serializer accept_content result_accept_content event_serializer",
        "None: arguments and results are JSON"),
    rule("task_always_eager", "``DJANGO_JOBS['EAGER'] = True``. ``delay()`` then raises nothing, "
        "``get()`` does; no row is written."),
    rule("task_store_eager_result", "None: without a row nothing is stored"),
    rule("task_eager_propagates", "``DJANGO_JOBS['EAGER'] = 'raise'``. ``apply()`` still returns "
        "its result."),
    rule("task_inherit_parent_priority", "``priority=self.request.priority`` in the call: a job "
        "has its own priority"),
    rule("task_acks_late", "None: it is the default; ``acks_late=False`` of ``@job`` turns it off"),
    rule("task_reject_on_worker_lost task_retry_on_worker_lost",
        "None: it is the default; ``on_worker_lost='fail'`` of ``@job``, and "
        "``DJANGO_JOBS['MAX_CRASHES']``"),
    rule("task_acks_on_failure_or_timeout task_acks_on_failure task_acks_on_timeout",
        "None: a failure is final unless the job is retried"),
    rule("task_ignore_result", "``ignore_result=True`` of ``@job``, of ``DJANGO_JOBS['JOB_OPTIONS']"
        "`` or of the call"),
    rule("task_track_started result_extended", "None: it is always so"),
    rule("task_allow_error_cb_on_chord_header", "``chord(group(…).on_error(f.s()), body)`` for one "
        "call for each member; a chord's errback runs once"),
    rule("task_annotations", "``DJANGO_JOBS['JOB_OPTIONS']`` (:ref:`job_options`)"),
    rule("task_publish_retry task_publish_retry_policy",
        "None: a call is an INSERT, and part of your transaction"),
    rule("worker_send_task_events task_send_sent_event task_store_errors_even_if_ignored",
        "None: the row always has this, and failures are kept with ``ignore_result``, too"),
    rule("worker_deduplicate_successful_tasks", "None: a successful job does not run again. "
        "``unique=`` of ``@job`` refuses a copy."),
    rule("worker_cancel_long_running_tasks_on_connection_loss",
        "None: a worker that lost its lease ends its jobs (:doc:`reliability`)"),
    rule("task_time_limit", "``DJANGO_JOBS['WORKER']['TIME_LIMIT']``, ``runworker --time-limit``, "
        "or ``time_limit=`` of ``@job`` or of the call"),
    rule("task_soft_time_limit", "``DJANGO_JOBS['WORKER']['SOFT_TIME_LIMIT']``, ``runworker "
        "--soft-time-limit``, or ``soft_time_limit=`` of ``@job`` or of the call"),
    rule("result_expires result_failure_expires", "``DJANGO_JOBS['RESULT_EXPIRES']`` and "
        "``['FAILURE_EXPIRES']``; ``result_expires=`` of ``@job``"),
    rule("result_chord_* result_cache_max result_compression result_exchange result_exchange_type "
        "result_persistent result_*", _NO_BACKEND),
    rule("worker_concurrency", "``DJANGO_JOBS['WORKER']['CONCURRENCY']``, or ``runworker -c``"),
    rule("worker_pool worker_pool_start_method", "``DJANGO_JOBS['WORKER']['POOL']``, or "
        "``runworker -P``"),
    rule("worker_autoscaler", "``runworker --autoscale``"),
    rule("worker_prefetch_multiplier worker_disable_prefetch worker_eta_task_limit "
        "worker_enable_prefetch_count_reduction", "None: jobs that wait are given back"),
    rule("worker_max_tasks_per_child", "``DJANGO_JOBS['WORKER']['MAX_JOBS_PER_CHILD']``, or "
        "``runworker --max-jobs-per-child``"),
    rule("worker_max_memory_per_child", "``DJANGO_JOBS['WORKER']['MAX_MEMORY_PER_CHILD']``, or "
        "``runworker --max-memory-per-child``"),
    rule("worker_soft_shutdown_timeout", "``DJANGO_JOBS['SHUTDOWN_GRACE_SECONDS']``"),
    rule("worker_redirect_stdouts worker_redirect_stdouts_level",
        "``DJANGO_JOBS['WORKER']['REDIRECT_STDOUT']``, or ``runworker --redirect-stdout LEVEL``; "
        "off by default"),
    rule("worker_hijack_root_logger worker_log_* worker_task_log_*",
        "None: Django's ``LOGGING`` (:doc:`logging`)"),
    rule("worker_enable_remote_control worker_disable_rate_limits worker_direct worker_state_db "
        "worker_*", "None: a worker of this package does not have it"),
    rule("imports include", "``DJANGO_JOBS['IMPORTS']`` for modules other than ``jobs.py`` and "
        "``tasks.py`` of an installed app, which are imported by themselves"),
    rule("timezone enable_utc", "None: Django's ``TIME_ZONE`` and ``USE_TZ``; a schedule may have "
        "its own"),
    rule("beat_schedule", "``DJANGO_JOBS['SCHEDULES']``"),
    rule("beat_scheduler beat_max_loop_interval beat_schedule_filename beat_sync_every beat_*",
        "None: schedules are rows, and beat wakes when one is changed"),
    rule("cache_backend cache_backend_options database_* redis_* mongodb_* elasticsearch_* "
        "cassandra_* couchbase_* arangodb_* cosmosdbsql_* azureblockblob_* gcs_* s3_*",
        _NO_BACKEND),
    rule("broker_* control_* event_* security_*", _NO_BROKER),
    rule("task_compression task_default_delivery_mode task_protocol task_remote_tracebacks "
        "task_repr_maxlevels", "None: a job is a row"),
)  # fmt: skip

# Names of Celery before version 4 that do not follow from the present ones.
_OLD = {
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "task_eager_propagates",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
    "CELERY_MESSAGE_COMPRESSION": "task_compression",
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERY_RESULT_DBURI": "database_url",
    "CELERY_RESULT_ENGINE_OPTIONS": "database_engine_options",
    "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS": "database_short_lived_sessions",
    "CELERY_RESULT_DB_TABLENAMES": "database_table_names",
    "CELERY_DISABLE_RATE_LIMITS": "worker_disable_rate_limits",
    "CELERY_ENABLE_REMOTE_CONTROL": "worker_enable_remote_control",
    "CELERY_REDIRECT_STDOUTS": "worker_redirect_stdouts",
    "CELERY_REDIRECT_STDOUTS_LEVEL": "worker_redirect_stdouts_level",
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
}
_PREFIXES = {"CELERYD_": "worker_", "CELERYBEAT_": "beat_"}
# A project may have settings of its own that begin with BROKER_: only these are Celery's.
_BROKER = re.compile(
    "BROKER_(URL|READ_URL|WRITE_URL|TRANSPORT|TRANSPORT_OPTIONS|CONNECTION_(TIMEOUT|RETRY"
    "|MAX_RETRIES)|CHANNEL_ERROR_RETRY|FAILOVER_STRATEGY|HEARTBEAT|HEARTBEAT_CHECKRATE"
    "|LOGIN_METHOD|POOL_LIMIT|USE_SSL|HOST|PORT|USER|PASSWORD|VHOST)"
)


def setting_of(name: str, namespace: str = "CELERY") -> str | None:
    """Return Celery's lower-case name of the Django setting *name*, or None if it is not Celery's.

    *namespace* is that of ``app.config_from_object()``. For a name that begins as Celery's and is
    none of its settings the text is empty.
    """
    if name in _OLD:
        return _OLD[name]
    for prefix, part in _PREFIXES.items():
        if name.startswith(prefix):
            return part + name.removeprefix(prefix).lower()
    if _BROKER.fullmatch(name):
        return name.lower()
    if not name.startswith(f"{namespace}_"):
        return None
    own = name.removeprefix(f"{namespace}_").lower()
    return next((each for each in (own, f"task_{own}") if find(SETTINGS, each)), "")


def with_replacement() -> Iterator[tuple[str, Rule]]:
    """Yield the Django settings that have a replacement, in Celery's present and older spelling."""
    older = {"worker_": "CELERYD_", "beat_": "CELERYBEAT_", "task_": "CELERY_"}
    for each in SETTINGS:
        for name in each.names if not each.is_deletable else ():
            yield f"CELERY_{name.upper()}", each
            for prefix, old in older.items():
                if name.startswith(prefix):
                    yield old + name.removeprefix(prefix).upper(), each
            for old, present in _OLD.items():
                if present == name:
                    yield old, each
