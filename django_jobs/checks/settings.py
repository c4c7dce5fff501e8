"""Checks of the setting ``DJANGO_JOBS``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections

from ..conf import Settings, get_settings, problems
from ..define import job_defaults
from ..define.dotted_paths import import_problem
from ..define.envelopes import key_problems, package_problem
from ..define.fairness import fairness_problems
from ..define.option_problems import priority_problems, queue_problems
from ..define.rates import parse
from ..define.routing import route_problem
from ..moments import LONGEST_SECONDS
from ..run.middleware import middleware_problem
from ..suggest import did_you_mean
from .alerts import alert_problems
from .database import check_configuration

_SHORTEST_TOKEN = 16
_SHORTEST_SECRET = 32
_QUEUE_KEYS = {"MAX_PENDING", "DATABASE", "CONCURRENCY", "RATE_LIMIT", "FAIR_BY", "WEIGHTS"}


@checks.register("django_jobs")
def check_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse unknown keys, wrong types and values that cannot work together."""
    found: list[checks.CheckMessage] = [
        checks.Error(what, hint=hint, id="django_jobs.E001") for what, hint in problems()
    ]
    settings = get_settings()
    if settings.database not in connections:
        known = ", ".join(connections)
        found.append(
            checks.Error(
                f"DJANGO_JOBS['DATABASE'] is {settings.database!r}, which DATABASES does not have.",
                hint=f"Use one of {known}.{did_you_mean(settings.database, connections)}",
                id="django_jobs.E002",
            )
        )
        return found
    for check in _CHECKS:
        found += check(settings)
    found += check_configuration(connections[settings.database])
    return found


def _lease(settings: Settings) -> Iterator[checks.CheckMessage]:
    if not 0 < 3 * settings.heartbeat_seconds <= settings.lease_seconds <= LONGEST_SECONDS:
        yield checks.Error(
            f"LEASE_SECONDS ({settings.lease_seconds}) must be at least three times "
            f"HEARTBEAT_SECONDS ({settings.heartbeat_seconds}), which must be above 0.",
            hint="Raise LEASE_SECONDS: a worker that misses one heartbeat would be taken for dead.",
            id="django_jobs.E006",
        )


def _least_values(settings: Settings) -> Iterator[checks.CheckMessage]:
    for name in ("max_crashes", "max_payload_bytes", "max_result_bytes"):
        if getattr(settings, name) < 1:
            yield checks.Error(
                f"{name.upper()} must be at least 1, got {getattr(settings, name)}.",
                hint=f"Remove it for the default, {getattr(Settings(), name):,}.",
                id="django_jobs.E007",
            )


def _token(settings: Settings) -> Iterator[checks.CheckMessage]:
    if settings.metrics_token is not None and len(settings.metrics_token) < _SHORTEST_TOKEN:
        yield checks.Error(
            f"METRICS_TOKEN has {len(settings.metrics_token)} characters, fewer than "
            f"{_SHORTEST_TOKEN}.",
            hint="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe())'.",
            id="django_jobs.E010",
        )


def _enqueue_url(settings: Settings) -> Iterator[checks.CheckMessage]:
    given = settings.enqueue_url
    secrets, globs = given.get("SECRETS"), given.get("JOBS")
    wrong = [f"has an unknown key {key!r}" for key in given if key not in ("SECRETS", "JOBS")]
    if given and not _are_texts(globs):
        wrong.append("must have JOBS, a list of globs of names of jobs")
    if given and not _are_texts(secrets):
        wrong.append("must have SECRETS, a list of texts")
    elif secrets:
        wrong += [
            f"['SECRETS'][{number}] has {len(each)} characters, fewer than {_SHORTEST_SECRET}"
            for number, each in enumerate(secrets)
            if len(each) < _SHORTEST_SECRET
        ]
    for problem in wrong:
        yield checks.Error(
            f"DJANGO_JOBS['ENQUEUE_URL'] {problem}.".replace("] [", "]["),
            hint='Write {"SECRETS": [os.environ["JOBS_SECRET"]], "JOBS": ["shop.jobs.*"]}. Make a '
            "secret: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
            id="django_jobs.E027",
        )


def _are_texts(several: object) -> bool:
    is_list = isinstance(several, (list, tuple)) and len(several) > 0
    return is_list and all(isinstance(each, str) for each in several)  # type: ignore[attr-defined]


def _api_tokens(settings: Settings) -> Iterator[checks.CheckMessage]:
    if settings.api_tokens and not apps.is_installed("django.contrib.admin"):
        yield checks.Error(
            "DJANGO_JOBS['API_TOKENS'] is True, but no page takes tokens: INSTALLED_APPS lacks "
            "'django.contrib.admin'.",
            hint="Install the admin, which has the pages, or remove API_TOKENS.",
            id="django_jobs.E028",
        )


def _encryption_keys(settings: Settings) -> Iterator[checks.CheckMessage]:
    for problem in key_problems(settings.encryption_keys):
        yield checks.Error(
            problem,
            hint="The first key encrypts, and all of them decrypt: put a new key first.",
            id="django_jobs.E024",
        )
    if settings.encryption_keys and (problem := package_problem()):
        yield checks.Error(problem, id="django_jobs.E025")


def _seconds(settings: Settings) -> Iterator[checks.CheckMessage]:
    for name in ("result_expires", "failure_expires", "shutdown_grace_seconds"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= LONGEST_SECONDS:
            yield checks.Error(
                f"{name.upper()} must be from 0 seconds to a century, got {value}.",
                hint="None keeps ended jobs for ever."
                if name.endswith("expires")
                else "Remove it for the default, 30.",
                id="django_jobs.E011",
            )


def _queue_names(settings: Settings) -> Iterator[checks.CheckMessage]:
    for queue in {settings.default_queue, *settings.queues}:
        for problem in queue_problems(queue):
            yield checks.Error(
                f"DJANGO_JOBS names an invalid queue: {problem}",
                hint="Rename it in DEFAULT_QUEUE or QUEUES.",
                id="django_jobs.E012",
            )


def _routes(settings: Settings) -> Iterator[checks.CheckMessage]:
    routes = settings.routes
    for entry in [routes] if isinstance(routes, Mapping) else routes:
        if callable(entry):
            continue
        for glob, options in entry.items() if isinstance(entry, Mapping) else [("?", entry)]:
            problem = route_problem(options)
            if not problem and "queue" in options:
                problem = " ".join(queue_problems(options["queue"]))
            if not problem and "priority" in options:
                problem = " ".join(priority_problems(options["priority"]))
            if problem:
                yield checks.Error(
                    f"DJANGO_JOBS['ROUTES'][{glob!r}] is wrong: {problem}",
                    hint='Write {"shop.jobs.*": {"queue": "shop", "priority": 5}}.',
                    id="django_jobs.E013",
                )


def _worker(settings: Settings) -> Iterator[checks.CheckMessage]:
    if settings.worker:
        from ..worker.flags import setting_problems  # imported only when needed

        for problem in setting_problems():
            yield checks.Error(
                problem,
                hint="Its keys and values are those of runworker's flags: "
                '{"POOL": "threads", "CONCURRENCY": 4}.',
                id="django_jobs.E014",
            )


def _queues(settings: Settings) -> Iterator[checks.CheckMessage]:
    for queue, options in settings.queues.items():
        if not _is_queue(options):
            yield checks.Error(
                f"DJANGO_JOBS['QUEUES'][{queue!r}] must be a dict with MAX_PENDING and CONCURRENCY "
                "(whole numbers ≥ 1), RATE_LIMIT (as in @job), FAIR_BY, WEIGHTS, DATABASE (one of "
                f"{', '.join(connections)}), got {options!r}.",
                hint='Write {"MAX_PENDING": 1000, "RATE_LIMIT": "10/s"}.',
                id="django_jobs.E008",
            )
            continue
        for problem in fairness_problems(options):
            yield checks.Error(
                f"DJANGO_JOBS['QUEUES'][{queue!r}] is wrong: {problem}",
                hint='Write {"FAIR_BY": "tenant_id", "WEIGHTS": {"acme": 3}}.',
                id="django_jobs.E008",
            )


def _job_options(settings: Settings) -> Iterator[checks.CheckMessage]:
    for problem in job_defaults.problems():
        yield checks.Error(
            problem,
            hint='Write {"*": {"max_retries": 5}, "wagtail.*": {"queue": "wagtail"}}, with the '
            "options of @job.",
            id="django_jobs.E015",
        )


def _is_queue(options: object) -> bool:
    if not isinstance(options, dict) or set(options) - _QUEUE_KEYS:
        return False
    try:
        parse(options.get("RATE_LIMIT"))
    except ValueError:
        return False
    numbers = [options[name] for name in ("MAX_PENDING", "CONCURRENCY") if name in options]
    known = options.get("DATABASE", "default") in connections
    return known and all(isinstance(number, int) and number >= 1 for number in numbers)


def _headers(settings: Settings) -> Iterator[checks.CheckMessage]:
    for path in settings.headers:
        if problem := import_problem("HEADERS", path):
            yield checks.Error(
                problem,
                hint='Name functions without arguments that return a dict: "shop.context.tenant".',
                id="django_jobs.E017",
            )


def _middleware(settings: Settings) -> Iterator[checks.CheckMessage]:
    for problem in filter(None, map(middleware_problem, settings.middleware)):
        yield checks.Error(
            problem,
            hint="Name functions of the running job that return a context manager: "
            '"django_jobs.middleware.locale".',
            id="django_jobs.E018",
        )


_CHECKS = (
    _lease, _least_values, _token, _enqueue_url, _api_tokens, alert_problems, _encryption_keys,
    _seconds, _queue_names, _routes, _headers, _middleware, _worker, _queues, _job_options,
)  # fmt: skip
