"""``manage.py check`` says what is wrong with an alias in ``TASKS``."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core import checks
from django.db import connection

from django_jobs.contrib.django_tasks.checks import check_task_backends
from django_jobs.models import Job
from tests.task_names import task_backends

pytestmark = [pytest.mark.once, pytest.mark.django_db]


def found(settings: Any, **alias: Any) -> list[checks.CheckMessage]:
    settings.TASKS = {"default": {**settings.TASKS["default"], **alias}}
    every = checks.run_checks(databases=["default"])
    return [each for each in every if str(each.id).startswith("django_jobs")]


def test_alias_of_the_tests_is_right(settings: Any) -> None:
    assert found(settings) == []
    assert found(settings, OPTIONS={"max_retries": 5}, QUEUES=[]) == []


@pytest.mark.parametrize(
    ("alias", "number", "text"),
    [
        ({"OPTIONS": {"max_retrys": 5}}, "E021", "max_retrys (did you mean max_retries=?)"),
        ({"OPTIONS": {"max_retries": -1}}, "E021", "max_retries must be a whole number"),
        ({"OPTIONS": {"database": "default"}}, "E021", "Unknown option database"),
        ({"OPTIONS": ["max_retries"]}, "E021", "It must be a dict, got list."),
        ({"QUEUES": ["a,b"]}, "E022", "must not have a comma"),
        ({"QUEUES": [5]}, "E022", "got 5"),
    ],
)
def test_wrong_alias_is_an_error(settings: Any, alias: Any, number: str, text: str) -> None:
    (error,) = found(settings, **alias)
    assert error.id == f"django_jobs.{number}"
    assert error.msg.startswith("TASKS['default'][")
    assert text in error.msg


def test_database_that_is_not_there_is_an_error(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"DATABASE": "reprots"}}}
    errors = {str(each.id): each for each in found(settings)}
    assert errors["django_jobs.E023"].msg == (
        "TASKS['default'] writes jobs to database 'reprots', which DATABASES does not have. Did "
        "you mean 'reports'?"
    )


def test_app_that_is_not_installed_is_an_error(settings: Any) -> None:
    backend = task_backends["default"]
    settings.INSTALLED_APPS = ["django.contrib.contenttypes"]
    assert [each.id for each in backend.check()] == ["django_jobs.E020"]


def on_server(*databases: str) -> list[checks.CheckMessage]:
    return check_task_backends(None, databases=list(databases))


def test_queue_that_no_worker_serves_is_warned_of(new_worker: Any) -> None:
    assert on_server("default") == []
    new_worker(queues=["mail"])
    messages = {each.msg: each for each in on_server("default")}
    assert set(messages) == {
        "TASKS['default'] has the queue 'default', which no running worker serves.",
        "TASKS['reports'] has the queue 'reports', which no running worker serves.",
    }
    assert {each.id for each in messages.values()} == {"django_jobs.W008"}
    new_worker(lease_seconds=-1, queues=[])
    assert len(on_server("default")) == 2
    new_worker(queues=["default", "reports"])
    assert on_server("default") == []


def test_check_without_a_database_asks_none(
    new_worker: Any, django_assert_num_queries: Any
) -> None:
    new_worker(queues=["mail"])
    with django_assert_num_queries(0):
        assert on_server() == []


def test_missing_table_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job._meta, "db_table", "django_jobs_gone")
    messages = on_server("default")
    assert {each.id for each in messages} == {"django_jobs.W007"}
    assert messages[0].msg == (
        "TASKS['default'] writes jobs to database 'default', which has no table django_jobs_gone."
    )
    assert connection.introspection.table_names()


def test_migrate_does_not_warn_of_what_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job._meta, "db_table", "django_jobs_gone")
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    assert on_server("default") == []
