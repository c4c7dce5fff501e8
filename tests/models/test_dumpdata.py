"""``dumpdata`` and ``loaddata`` keep jobs, workflows and schedules as they are."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command

from django_jobs import chain
from django_jobs.models import Attempt, Edge, Job, Schedule
from django_jobs.values import Outcome
from tests import jobs
from tests.workflows.jobs import add, fail, same

pytestmark = pytest.mark.django_db

VALUES: list[Any] = ["5", '{"a": 1}', {"a": [1, 2.5, None, True]}, [], "", 0, False, None, "ü\n'"]


def rows() -> dict[str, list[Any]]:
    models: list[Any] = [Job, Edge, Attempt, Schedule]
    return {
        model.__name__: [
            {name: _kept(value) for name, value in row.items()}
            for row in model.objects.order_by("pk").values()
        ]
        for model in models
    }


def _kept(value: Any) -> Any:
    """Return a time as Django's JSON keeps it, to the millisecond."""
    if isinstance(value, datetime.datetime):
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_dump_of_the_project_loads_and_its_jobs_run(
    work: Callable[..., list[Outcome]], tmp_path: Path, format: str
) -> None:
    results = same.delay_many([(value,) for value in VALUES])
    failed = chain(fail.s(), add.s(1)).apply_async()
    work()
    waiting = chain(same.s({"a": "5"}), same.s()).apply_async(headers={"tenant": "x"})
    Schedule.objects.create(
        name="daily", job_name=jobs.add.name, kind="crontab", crontab="0 3 * * *", args=[1]
    )
    before = rows()
    path = tmp_path / f"dump.{format}"
    call_command("dumpdata", output=str(path), format=format)
    for name in ("Job", "Edge", "Attempt", "Schedule"):
        apps.get_model("django_jobs", name).objects.all().delete()
    call_command("loaddata", str(path), verbosity=0)
    assert rows() == before
    assert [result.get(timeout=0) for result in results] == VALUES
    work()
    work()
    assert waiting.get(timeout=0) == {"a": "5"}
    assert failed.status == "FAILURE"


def test_dump_of_jobs_holds_their_arguments_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    jobs.add.delay(1, b={"c": [2]})
    call_command("dumpdata", "django_jobs.job")
    (dumped,) = json.loads(capsys.readouterr().out)
    assert (dumped["fields"]["args"], dumped["fields"]["kwargs"]) == ([1], {"b": {"c": [2]}})
    call_command("dumpdata", "django_jobs", use_base_manager=True)
