"""What a server must be able to do is told at start."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.db import connection

pytestmark = pytest.mark.django_db


def found() -> list[tuple[str, str]]:
    messages = checks.run_checks(databases=["default"])
    return [(str(each.id), each.msg) for each in messages if str(each.id).startswith("django_jobs")]


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
        ({"RESULT_EXPIRES": 1e12}, "E011"),
        ({"FAILURE_EXPIRES": float("nan")}, "E011"),
        ({"SHUTDOWN_GRACE_SECONDS": -1}, "E011"),
        ({"LEASE_SECONDS": float("inf")}, "E006"),
        ({"HEARTBEAT_SECONDS": float("nan")}, "E006"),
        ({"DEFAULT_QUEUE": "a,b"}, "E012"),
        ({"QUEUES": {" mail": {}}}, "E012"),
    ],
)
def test_impossible_setting_is_an_error(settings: Any, given: dict[str, Any], number: str) -> None:
    settings.DJANGO_JOBS = given
    assert [each for each, _text in found()] == [f"django_jobs.{number}"]


@pytest.mark.parametrize("key", ["TASK_ALLOW_ERROR_CB_ON_CHORD_HEADER",
                                 "task_allow_error_cb_on_chord_header"])  # fmt: skip
def test_setting_of_celery_s_workflows_names_what_to_use(settings: Any, key: str) -> None:
    settings.DJANGO_JOBS = {key: True}
    messages = checks.run_checks(databases=["default"])
    (error,) = (each for each in messages if each.id == "django_jobs.E001")
    assert f"unknown key {key!r}" in error.msg
    assert "chord(group(...).on_error(f.s()), body)" in error.hint
