"""DJANGO_JOBS["WORKER"]: the defaults of runworker's flags."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_jobs.checks import check_settings
from django_jobs.management.commands import runworker
from django_jobs.worker import flags
from django_jobs.worker.options import WorkerOptions


@pytest.fixture(autouse=True)
def no_job_function_with_limits(registered: dict[str, Any]) -> None:
    registered.clear()


def options(*arguments: str) -> WorkerOptions:
    command = runworker.Command()
    parser = command.create_parser("manage.py", "runworker")
    return command._options(vars(parser.parse_args(list(arguments))))


def told() -> list[str]:
    return [message.msg for message in check_settings(None) if message.id == "django_jobs.E014"]


def test_each_key_is_the_default_of_its_flag(settings: Any) -> None:
    settings.DJANGO_JOBS = {
        "WORKER": {
            "POOL": "asyncio",
            "CONCURRENCY": 4,
            "PROCESSES": 2,
            "QUEUES": ["mail", "default"],
            "EXCLUDE_QUEUES": "slow, dull",
            "MAX_JOBS_PER_CHILD": 100,
            "MAX_MEMORY_PER_CHILD": 200_000,
            "TIME_LIMIT": 60,
            "SOFT_TIME_LIMIT": 50.5,
        }
    }
    seen = options()
    assert told() == []
    assert (seen.pool, seen.slots, seen.processes) == ("asyncio", 4, 2)
    assert (seen.queues, seen.exclude_queues) == (("mail", "default"), ("slow", "dull"))
    assert (seen.max_jobs, seen.max_memory) == (100, 200_000)
    assert (seen.time_limit, seen.soft_time_limit) == (60.0, 50.5)


def test_without_the_setting_the_flags_have_their_own_defaults(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"CONCURRENCY": None}}
    seen = options()
    assert (seen.pool, seen.processes, seen.slots) == ("prefork", os.cpu_count(), 1)
    assert (seen.queues, seen.exclude_queues) == ((), ())


@pytest.mark.parametrize(
    ("worker", "arguments", "slots", "most"),
    [
        ({"POOL": "gevent"}, [], 100, 20),
        ({"POOL": "gevent", "CONCURRENCY": 500, "CONNECTIONS": 40}, [], 500, 40),
        ({"POOL": "gevent", "CONNECTIONS": 40}, ["-c", "5"], 5, 5),
        ({"POOL": "gevent", "CONNECTIONS": 40}, ["--connections", "9"], 100, 9),
        ({"POOL": "gevent", "CONNECTIONS": 40}, ["--pool", "threads"], 8, None),
    ],
)
def test_greenlets_share_connections(
    settings: Any, worker: Any, arguments: list[str], slots: int, most: int | None
) -> None:
    settings.DJANGO_JOBS = {"WORKER": worker}
    seen = options(*arguments)
    assert (seen.slots, seen.connections) == (slots, most)


def test_autoscale_may_be_a_default(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"AUTOSCALE": "8,2"}}
    seen = options()
    assert seen.autoscale is not None
    assert (seen.autoscale.most, seen.autoscale.least) == (8, 2)


def test_flag_wins(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"CONCURRENCY": 4, "QUEUES": "mail", "TIME_LIMIT": 60}}
    seen = options("-c", "2", "--queues", "slow", "--time-limit", "5")
    assert (seen.processes, seen.queues, seen.time_limit) == (2, ("slow",), 5.0)


def test_empty_flag_serves_every_queue_again(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"QUEUES": "mail", "EXCLUDE_QUEUES": "slow"}}
    seen = options("--queues=")
    assert (seen.queues, seen.exclude_queues) == ((), ())


@pytest.mark.parametrize(
    ("worker", "arguments", "pool", "processes", "slots"),
    [
        ({"CONCURRENCY": 4}, ["--processes", "2"], "prefork", 2, 1),
        ({"AUTOSCALE": "8,2"}, ["-c", "3"], "prefork", 3, 1),
        ({"CONCURRENCY": 4}, ["--autoscale", "8,2"], "prefork", 2, 1),
        ({"CONCURRENCY": 4}, ["--pool", "solo"], "solo", 1, 1),
        ({"POOL": "solo"}, ["--pool", "prefork", "-c", "3"], "prefork", 3, 1),
        ({"AUTOSCALE": "8,2", "POOL": "threads"}, ["--burst"], "threads", 1, 8),
        ({"AUTOSCALE": "8,2", "POOL": "threads"}, ["-c", "3"], "threads", 2, 3),
        ({"PROCESSES": 3, "POOL": "threads"}, ["-c", "5"], "threads", 3, 5),
    ],
)
def test_flag_replaces_the_keys_that_would_contradict_it(
    settings: Any, worker: Any, arguments: list[str], pool: str, processes: int, slots: int
) -> None:
    settings.DJANGO_JOBS = {"WORKER": worker}
    seen = options(*arguments)
    assert (seen.pool, seen.processes, seen.slots) == (pool, processes, slots)


@pytest.mark.parametrize(
    ("worker", "problem"),
    [
        (
            {"CONCURENCY": 4},
            "['CONCURENCY'] is an unknown key. Did you mean 'CONCURRENCY'? Allowed",
        ),
        ({"concurrency": 4}, "Did you mean 'CONCURRENCY'?"),
        ({"NAME": "w1"}, "['NAME'] is an unknown key."),
        ({5: 4}, "[5] is an unknown key."),
        ({"CONCURRENCY": "4"}, "['CONCURRENCY'] must be a whole number, got '4'"),
        ({"CONCURRENCY": True}, "['CONCURRENCY'] must be a whole number, got True"),
        ({"CONCURRENCY": 4.5}, "['CONCURRENCY']: must be a whole number of at least 1, got '4.5'"),
        ({"CONCURRENCY": 0}, "['CONCURRENCY']: must be a whole number of at least 1, got '0'"),
        ({"TIME_LIMIT": "60"}, "['TIME_LIMIT'] must be a number, got '60'"),
        ({"TIME_LIMIT": -1}, "--time-limit must be seconds above 0"),
        ({"POOL": "eventlet"}, "['POOL']: there is no pool 'eventlet'"),
        ({"POOL": "gevent", "CONNECTIONS": 0}, "['CONNECTIONS']: must be a whole number of at"),
        ({"POOL": "threads", "CONNECTIONS": 4}, "--connections bounds the connections of a gevent"),
        ({"POOL": 5}, "['POOL'] must be a text in quotes, got 5"),
        ({"QUEUES": 5}, "['QUEUES'] must be a list of names, got 5"),
        ({"QUEUES": ["mail", 5]}, "['QUEUES'] must be a list of names"),
        ({"AUTOSCALE": "2"}, "['AUTOSCALE']: must be MAX,MIN"),
        ({"POOL": "solo", "CONCURRENCY": 4}, "A solo pool runs one job at a time"),
        ({"POOL": "threads", "TIME_LIMIT": 5}, "A hard time limit cannot stop a thread"),
    ],
)
def test_check_reports_a_wrong_default(settings: Any, worker: Any, problem: str) -> None:
    settings.DJANGO_JOBS = {"WORKER": worker}
    (seen,) = told()
    assert problem in seen


def test_wrong_default_stops_the_command_without_the_check(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"CONCURENCY": 4}}
    with pytest.raises(CommandError, match="Did you mean 'CONCURRENCY'"):
        options()


def test_refusal_names_the_setting(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"TIME_LIMIT": 60}}
    with pytest.raises(CommandError, match=r"--time-limit: .*(?s:.*)'WORKER'\] gives TIME_LIMIT"):
        options("--pool", "threads")


def test_help_shows_the_defaults_of_the_setting(settings: Any) -> None:
    settings.DJANGO_JOBS = {"WORKER": {"CONCURRENCY": 4}}
    text = runworker.Command().create_parser("manage.py", "runworker").format_help()
    assert "[DJANGO_JOBS['WORKER']: 4]" in " ".join(text.split())


def test_docs_tell_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "workers.rst").read_text()
    section = text.partition(".. _worker_defaults:")[2].partition(".. _pools:")[0]
    keys = section.partition("Its keys are ")[2].partition(";")[0]
    assert re.findall(r"``(\w+)``", keys) == list(flags._actions())
