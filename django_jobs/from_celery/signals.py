"""Celery's signals, and the signals here."""

from __future__ import annotations

from .table import Rule, rule

SIGNALS: tuple[Rule, ...] = (
    rule("before_task_publish after_task_publish task_sent",
        "``job_enqueued``, after the INSERT and in its transaction. No signal comes before it: "
        "change a call or its headers where you make the call, or in a route. ``job_ids`` leads a "
        "receiver to the rows: ``Job.objects.filter(pk__in=job_ids)``"),
    rule("task_prerun", "``job_prerun``"),
    rule("task_postrun", "``job_postrun``"),
    rule("task_success", "``job_success``; ``current_job.request`` has the arguments"),
    rule("task_failure", "``job_failure``, with ``exception`` and the text ``traceback``; "
        "``current_job.request`` has the arguments"),
    rule("task_retry", "``job_retry``, with ``exception``; ``current_job.request`` has the "
        "arguments"),
    rule("task_revoked", "``job_revoked``"),
    rule("task_unknown task_rejected", "``job_failure``"),
    rule("task_received task_internal_error", "None"),
    rule("celeryd_init celeryd_after_setup worker_init", "``worker_init``"),
    rule("worker_ready worker_shutting_down worker_shutdown", "the same name of "
        "``django_jobs.signals``. ``sender.hostname`` is the host; the worker's name is "
        "``sender.name``"),
    rule("worker_process_init worker_process_shutdown", "the same name of "
        "``django_jobs.signals``, in every pool"),
    rule("worker_before_create_process", "``worker_process_init``"),
    rule("setup_logging after_setup_logger after_setup_task_logger",
        "None: Django's ``LOGGING`` (:doc:`logging`)"),
    rule("import_modules", "``DJANGO_JOBS['IMPORTS']``"),
    rule("beat_init beat_embedded_init heartbeat_sent user_preload_options eventlet_pool_*",
        "None"),
)  # fmt: skip
