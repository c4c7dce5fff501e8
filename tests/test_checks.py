"""The system checks, each with a project that it complains of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.db import connection, connections
from django.db.utils import ConnectionHandler

from django_jobs.checks.database import check_server

pytestmark = pytest.mark.django_db


def messages() -> list[checks.CheckMessage]:
    every = checks.run_checks(databases=["default"])
    # The aliases in TASKS have tests of their own.
    every = [each for each in every if not each.msg.startswith("TASKS[")]
    return [each for each in every if str(each.id).startswith("django_jobs")]


def found() -> list[tuple[str, str]]:
    return [(str(each.id), each.msg) for each in messages()]


@pytest.fixture
def jobs_in(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Put the jobs into another database, given as in DATABASES; the test does not connect."""

    def put(database: dict[str, Any]) -> None:
        handler = ConnectionHandler({"default": database, "other": database})
        monkeypatch.setitem(connections.settings, "other", handler.settings["other"])
        settings.DJANGO_JOBS = {"DATABASE": "other"}

    yield put
    del connections["other"]


def test_this_server_has_all_that_is_needed() -> None:
    assert found() == []


@pytest.mark.parametrize("lack", ["RETURNING", "JSON functions", "SKIP LOCKED"])
def test_server_that_lacks_something_is_an_error(
    monkeypatch: pytest.MonkeyPatch, vendor: str, lack: str
) -> None:
    if (vendor == "mysql") != (lack == "SKIP LOCKED") or vendor == "postgresql":
        pytest.skip("another database lacks it in old versions")
    own: Any = connection
    if lack == "RETURNING":
        monkeypatch.setattr(own.Database, "sqlite_version_info", (3, 34, 1))
    elif lack == "JSON functions":
        monkeypatch.setattr(own.features, "supports_json_field", False)
    else:
        monkeypatch.setattr(own, "mysql_version", (10, 5, 9))
    ((number, text),) = found()
    assert number == ("django_jobs.E004" if vendor == "mysql" else "django_jobs.E005")
    assert text.endswith(f"has no {lack}.")


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ({"RESULT_EXPIRE": 60}, "E001"),
        ({"MAX_CRASHES": "3"}, "E001"),
        ([], "E001"),
        ({"DATABASE": "nowhere"}, "E002"),
        ({"LEASE_SECONDS": 10, "HEARTBEAT_SECONDS": 5}, "E006"),
        ({"HEARTBEAT_SECONDS": 0}, "E006"),
        ({"MAX_CRASHES": 0}, "E007"),
        ({"MAX_PAYLOAD_BYTES": 0}, "E007"),
        ({"MAX_RESULT_BYTES": -1}, "E007"),
        ({"RESULT_EXPIRES": 1e12}, "E011"),
        ({"FAILURE_EXPIRES": float("nan")}, "E011"),
        ({"SHUTDOWN_GRACE_SECONDS": -1}, "E011"),
        ({"LEASE_SECONDS": float("inf")}, "E006"),
        ({"HEARTBEAT_SECONDS": float("nan")}, "E006"),
        ({"DEFAULT_QUEUE": "a,b"}, "E012"),
        ({"QUEUES": {" mail": {}}}, "E012"),
    ],
)
def test_impossible_setting_is_an_error(settings: Any, given: Any, number: str) -> None:
    settings.DJANGO_JOBS = given
    assert [each for each, _text in found()] == [f"django_jobs.{number}"]


@pytest.mark.parametrize("key", ["TASK_ALLOW_ERROR_CB_ON_CHORD_HEADER",
                                 "task_allow_error_cb_on_chord_header"])  # fmt: skip
def test_setting_of_celery_s_workflows_names_what_to_use(settings: Any, key: str) -> None:
    settings.DJANGO_JOBS = {key: True}
    (error,) = messages()
    assert error.id == "django_jobs.E001"
    assert f"unknown key {key!r}" in error.msg
    assert "chord(group(...).on_error(f.s()), body)" in str(error.hint)


def test_unknown_database_names_the_known_ones(settings: Any) -> None:
    settings.DJANGO_JOBS = {"DATABASE": "defalt"}
    (error,) = messages()
    assert error.msg == "DJANGO_JOBS['DATABASE'] is 'defalt', which DATABASES does not have."
    assert "Use one of default" in str(error.hint)
    assert "Did you mean 'default'?" in str(error.hint)


def test_lease_must_span_three_heartbeats(settings: Any) -> None:
    settings.DJANGO_JOBS = {"LEASE_SECONDS": 15, "HEARTBEAT_SECONDS": 5}
    assert messages() == []
    settings.DJANGO_JOBS = {"LEASE_SECONDS": 14, "HEARTBEAT_SECONDS": 5}
    (error,) = messages()
    assert error.msg.startswith("LEASE_SECONDS (14) must be at least three times")


def test_value_below_one_names_its_default(settings: Any) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 0}
    (error,) = messages()
    assert error.msg == "MAX_CRASHES must be at least 1, got 0."
    assert error.hint == "Remove it for the default, 3."


def test_engine_that_is_not_supported_is_an_error(jobs_in: Any) -> None:
    jobs_in({"ENGINE": "django.db.backends.dummy"})
    (error,) = messages()
    assert error.id == "django_jobs.E003"
    assert error.msg == "Jobs cannot be stored in 'other', whose engine is unknown."


IMMEDIATE = {"transaction_mode": "IMMEDIATE"}


def test_sqlite_file_without_wal_is_warned_of(tmp_path: Path) -> None:
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "jobs.sqlite3"}
    own: Any = ConnectionHandler({"default": file, "file": file})["file"]
    own.features.supports_json_field = True  # Django looks the alias up to find out
    with contextlib.closing(own):
        (warning,) = check_server(own)
        assert warning.id == "django_jobs.W001"
        assert "is in journal mode delete" in warning.msg
        assert "journal_mode=WAL" in str(warning.hint)
        with own.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
        assert list(check_server(own)) == []


@pytest.mark.parametrize("options", [{}, {"transaction_mode": "DEFERRED"}])
def test_sqlite_transactions_that_begin_deferred_are_warned_of(jobs_in: Any, options: Any) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    jobs_in({**sqlite, "OPTIONS": options})
    (warning,) = messages()
    assert warning.id == "django_jobs.W002"
    assert "does not begin its transactions as IMMEDIATE" in warning.msg


@pytest.mark.parametrize(
    ("pool", "expected"),
    [({"max_size": 1}, ["django_jobs.W003"]), ({"max_size": 2}, []), ({}, []), (True, [])],
)
def test_connection_pool_of_one_is_warned_of(jobs_in: Any, pool: Any, expected: list[str]) -> None:
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "OPTIONS": {"pool": pool}}
    jobs_in(database)
    assert [each.id for each in messages()] == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (7, "HEADERS must hold dotted paths of functions, got an int."),
        ("shop.gone", "HEADERS names 'shop.gone', which cannot be imported: "),
        ("tests.jobs", "HEADERS names 'tests.jobs', which is a module."),
    ],
)
def test_header_function_that_cannot_be_called_is_an_error(
    settings: Any, path: Any, message: str
) -> None:
    settings.DJANGO_JOBS = {"HEADERS": ["tests.jobs.add", path]}
    ((name, text),) = found()
    assert name == "django_jobs.E017"
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (7, "MIDDLEWARE must hold dotted paths of functions, got an int."),
        ("shop.gone", "MIDDLEWARE names 'shop.gone', which cannot be imported: "),
        ("tests.jobs", "MIDDLEWARE names 'tests.jobs', which is a module."),
        (
            "tests.test_checks.found",
            "MIDDLEWARE names 'tests.test_checks.found', which does not take one argument",
        ),
    ],
)
def test_middleware_that_cannot_be_called_is_an_error(
    settings: Any, path: Any, message: str
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": ["django_jobs.middleware.locale", path]}
    ((name, text),) = found()
    assert name == "django_jobs.E018"
    assert text.startswith(message)
