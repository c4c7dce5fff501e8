"""Celery's names in code: imports, attributes of the app, fixtures, packages and commands."""

from __future__ import annotations

from .table import Rule, rule

#: The imports of a module, by its full name.
IMPORTS: tuple[Rule, ...] = (
    rule("celery.shared_task celery.task celery.task.* celery.decorators.*",
        "None: ``job`` of ``django_jobs`` takes its place"),
    rule("celery.Celery", "None: ``@job`` needs no app object"),
    rule("celery.Task celery.app.task.Task celery.contrib.django.task.DjangoTask",
        "None: ``JobContext`` of ``django_jobs`` takes its place"),
    rule("celery.contrib.abortable.*", "``JobContext``, with ``self.revoked`` for "
        "``is_aborted()``, and ``revoke(terminate=True)`` of the result for ``abort()``"),
    rule("celery.chain celery.chord celery.group celery.signature celery.canvas "
        "celery.canvas.*",
        "the same name of ``django_jobs``, in the change that decorates the tasks "
        "(:doc:`workflows`)"),
    rule("celery.subtask celery.maybe_signature", "``signature`` of ``django_jobs``"),
    rule("celery.chunks celery.xmap celery.xstarmap", "``f.chunks()``, ``f.map()`` and "
        "``f.starmap()``"),
    rule("celery.result.AsyncResult celery.result.EagerResult",
        "``AsyncResult`` of ``django_jobs``, without ``app=``. An unknown id raises "
        "``JobDoesNotExist``, where Celery says PENDING; old ids stay in Celery's backend."),
    rule("celery.result.GroupResult celery.result.ResultSet",
        "the same name of ``django_jobs``; ``GroupResult.restore()`` needs no ``save()``"),
    rule("celery.result celery.result.*",
        "``AsyncResult`` of ``django_jobs``, with ``allow_join=True`` of ``get()`` in a job"),
    rule("celery.current_task", "``current_job`` of ``django_jobs``"),
    rule("celery.current_app celery.app_or_default", "None: there is no app object"),
    rule("celery.schedules.crontab celery.schedules.solar",
        "the same name of ``django_jobs``"),
    rule("celery.schedules celery.schedules.*", "seconds or a ``timedelta`` as the schedule"),
    rule("celery.exceptions.Ignore celery.exceptions.Reject",
        "the same name of ``django_jobs.exceptions``; a class of both while both decorators stand"),
    rule("celery.exceptions.Retry celery.exceptions.MaxRetriesExceededError "
        "celery.exceptions.TimeLimitExceeded",
        "the same name of ``django_jobs.exceptions``; catch both while both decorators stand"),
    rule("celery.exceptions.SoftTimeLimitExceeded billiard.exceptions.SoftTimeLimitExceeded",
        "``django_jobs.exceptions.SoftTimeLimitExceeded``, which ``except Exception`` does not "
        "catch; catch both while both decorators stand"),
    rule("celery.exceptions.TimeoutError", "``django_jobs.exceptions.ResultTimeout``"),
    rule("celery.exceptions.TaskRevokedError", "``django_jobs.exceptions.JobRevoked``"),
    rule("celery.exceptions.WorkerLostError", "``django_jobs.exceptions.WorkerLost``"),
    rule("celery.exceptions.NotRegistered", "``django_jobs.exceptions.UnknownJob``"),
    rule("celery.exceptions celery.exceptions.*", "an exception of ``django_jobs.exceptions``"),
    rule("celery.states celery.states.*", "``django_jobs.Status``, whose members are texts"),
    rule("celery.signals celery.signals.*",
        "None: see the receivers, and ``django_jobs.signals`` (:doc:`signals`)"),
    rule("celery.utils.log.*", "``logging.getLogger(__name__)``; ``JobFilter`` adds ``job_id`` and "
        "``job_name`` (:doc:`logging`)"),
    rule("celery.utils.uuid celery.utils.gen_unique_id", "``str(uuid.uuid4())``"),
    rule("celery.contrib.testing celery.contrib.testing.* celery.contrib.pytest",
        "None: ``django_jobs.testing`` (:doc:`testing`)"),
    rule("celery.app.control.*", "``django_jobs.control`` (:doc:`control`)"),
    rule("celery.beat.*", "None: schedules are rows (:doc:`schedules`)"),
    rule("django_celery_beat.models.PeriodicTask django_celery_beat.models.PeriodicTasks "
        "django_celery_beat.models.*Schedule django_celery_beat.models.*",
        "``django_jobs.models.Schedule``: one row has the job and its schedule (:doc:`schedules`)"),
    rule("django_celery_beat.*", "``django_jobs.models.Schedule`` (:doc:`schedules`)"),
    rule("django_celery_results.models.*", "``django_jobs.models.Job``: a row has its status, "
        "arguments, result and attempts. Old rows are not read."),
    rule("django_celery_results.*", "None: a job's row has its result"),
    rule("celery_once.* celery_singleton.*", "``unique=`` of ``@job`` (:doc:`defining`)"),
    rule("celery_batches.*", "``@job(batch_size=..., batch_seconds=...)`` (:doc:`batches`)"),
    rule("kombu.Queue kombu.Exchange", "None: a queue is a name"),
    rule("kombu kombu.*", "None: there are no messages"),
    rule("flower.* redbeat.* celery_progress.* djcelery.* djkombu.*",
        "the admin, ``manage.py jobs``, and ``{% job_progress result %}`` (:doc:`admin`)"),
    rule("sentry_sdk.integrations.celery sentry_sdk.integrations.celery.*",
        "``DjangoJobsIntegration`` of ``django_jobs.contrib.sentry``, with ``monitor_schedules=`` "
        "for ``monitor_beat_tasks=`` (:doc:`sentry`); keep both while both decorators stand"),
    rule("opentelemetry.instrumentation.celery.*", "``DjangoJobsInstrumentor`` of "
        "``django_jobs.contrib.opentelemetry`` (:doc:`opentelemetry`); keep both while both "
        "decorators stand"),
    rule("celery", "``django_jobs``"),
    rule("celery.* billiard.* amqp.* vine.*", "None: it has no counterpart; see where it is used"),
)  # fmt: skip

#: Attributes of the app.
APP: tuple[Rule, ...] = (
    rule("task", "``@job``"),
    rule("Task", "``JobContext``"),
    rule("register_task", "``@job`` on a function: move ``run()`` of the class into it"),
    rule("send_task", "``signature('name').delay()``, for a name that this process knows"),
    rule("signature", "``django_jobs.signature``"),
    rule("AsyncResult", "``django_jobs.AsyncResult``. An unknown id raises ``JobDoesNotExist``, "
        "where Celery says PENDING."),
    rule("GroupResult ResultSet", "the same name of ``django_jobs``"),
    rule("autodiscover_tasks", "None: Django imports ``jobs`` and ``tasks`` of every installed app "
        "at startup"),
    rule("config_from_object config_from_envvar config_from_cmdline conf",
        "None: the settings are in ``DJANGO_JOBS`` (:doc:`settings`)"),
    rule("add_periodic_task", "``add_periodic_task()`` in ``jobs.py`` or ``tasks.py``, without a "
        "receiver; or ``@job(schedule=…)``, or ``DJANGO_JOBS['SCHEDULES']``"),
    rule("on_after_configure on_after_finalize on_configure", "``jobs.py`` or ``tasks.py``: their "
        "code runs at startup, without a receiver"),
    rule("control.inspect control.inspect.*", "``manage.py jobs inspect``, or the rows of "
        "``Worker`` and ``Job`` (:doc:`control`)"),
    rule("control.revoke control.terminate", "``django_jobs.control.revoke()``, or ``revoke()`` of "
        "the result; the row is changed, permanently"),
    rule("control.purge control.discard_all", "``manage.py jobs purge --queue Q``"),
    rule("control.ping", "``manage.py jobs inspect ping``"),
    rule("control.rate_limit control.time_limit control.add_consumer control.cancel_consumer "
        "control.pool_grow control.pool_shrink control.autoscale control.shutdown "
        "control.broadcast control.*",
        "``django_jobs.control.send_command()``, or ``manage.py jobs control`` (:doc:`control`)"),
    rule("control", "``django_jobs.control`` (:doc:`control`)"),
    rule("events events.*", "None: a job's row shows everything"),
    rule("tasks tasks.*", "``manage.py jobs inspect registered``"),
    rule("connection connection.* connection_for_read connection_for_write connection_or_acquire "
        "broker_connection producer_pool producer_or_acquire amqp amqp.* pool pool.* backend "
        "backend.*", "None: there is no broker and no backend"),
    rule("worker_main start Worker Beat", "``manage.py runworker`` and ``manage.py runbeat``"),
    rule("*", "None: there is no app object"),
)  # fmt: skip

#: Attributes of ``self.request`` that only Celery has.
REQUEST: tuple[Rule, ...] = (
    rule("hostname", "``socket.gethostname()``"),
    rule("delivery_info", "``self.request.queue`` and ``.priority``"),
    rule("chain chord callbacks errbacks", "``manage.py jobs workflow``, or the rows: "
        "``Job.objects.filter(root_id=…)``"),
    rule("group", "``group_id`` of the job's row"),
    rule("timelimit", "``self.function.options``"),
    rule("correlation_id reply_to utc loglevel logfile argsrepr kwargsrepr", "None"),
)  # fmt: skip

#: Fixtures and marks of Celery's pytest plugin.
FIXTURES: tuple[Rule, ...] = (
    rule("celery_worker celery_session_worker celery_app celery_session_app celery_config "
        "celery_parameters celery_includes celery_enable_logging celery_worker_parameters "
        "celery_worker_pool celery_class_tasks use_celery_app_trap depends_on_current_app",
        "None: ``django_jobs.testing`` (:doc:`testing`)"),
)  # fmt: skip

#: Names of loggers.
LOGGERS: tuple[Rule, ...] = (
    rule("celery celery.*", "``django_jobs.job``, ``django_jobs.worker`` and ``django_jobs.beat`` "
        "(:doc:`logging`)"),
)  # fmt: skip

#: Apps of ``INSTALLED_APPS``, and packages of requirements.
PACKAGES: tuple[Rule, ...] = (
    rule("celery kombu billiard amqp vine librabbitmq pytest-celery celery-types",
        "None. The broker's client (redis, …) goes with it if nothing else uses it."),
    rule("django-celery-beat django_celery_beat", "``manage.py jobs import-celery-beat``; then "
        "``manage.py migrate django_celery_beat zero`` drops its tables, before you remove it"),
    rule("django-celery-results django_celery_results", "``manage.py migrate "
        "django_celery_results zero`` to drop its tables, before you remove it"),
    rule("flower django-celery-monitor celery-exporter", "the admin, ``manage.py jobs top`` and "
        "the metrics for Prometheus (:doc:`monitoring`)"),
    rule("celery-once celery-singleton", "``unique=`` of ``@job``"),
    rule("opentelemetry-instrumentation-celery", "``django-background-jobs[opentelemetry]`` "
        "(:doc:`opentelemetry`)"),
    rule("celery-redbeat redbeat", "``DJANGO_JOBS['SCHEDULES']``, or rows of ``Schedule``"),
    rule("celery-progress celery_progress celery_progress.urls",
        "``{% job_progress result %}`` (:doc:`results`)"),
    rule("health_check.contrib.celery health_check.contrib.celery_ping",
        "``manage.py jobs health`` (:doc:`monitoring`)"),
    rule("celery-batches", "``@job(batch_size=..., batch_seconds=...)`` (:doc:`batches`)"),
    rule("tenant-schemas-celery django-celery django-celery-email djcelery "
        "django-structlog[celery]", "None: see its imports"),
)  # fmt: skip

#: The commands that start Celery's processes.
COMMANDS: tuple[Rule, ...] = (
    rule("worker multi", "``manage.py runworker``"),
    rule("beat", "``manage.py runbeat``, or ``runworker --beat``"),
    rule("flower status events", "the admin, or ``manage.py jobs top``"),
    rule("inspect report", "``manage.py jobs inspect``"),
    rule("control", "``manage.py jobs control``"),
    rule("purge", "``manage.py jobs purge --queue Q``"),
    rule("call", "``manage.py jobs run``"),
    rule("result", "``manage.py jobs show``"),
    rule("shell list graph logtool migrate amqp upgrade", "None"),
)  # fmt: skip
