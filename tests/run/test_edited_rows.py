"""A row that somebody edited by hand ends alone: no worker, rescue or command stops for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import TextField, Value
from django.test import Client

from django_jobs import chain
from django_jobs.db import clock
from django_jobs.maintenance import rescue
from django_jobs.models import Job, Worker
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.workflows.jobs import add, fail, received, same

pytestmark = pytest.mark.django_db

DEEP = "[" * 100_000
NO_FORMS = [
    "5",
    '{"a": 1}',
    "true",
    '"all"',
    '["list"]',
    '[["value", 5]]',
    f"{DEEP}{']' * 100_000}",
]


def edit(job_id: Any, **texts: str) -> None:
    changed = {name: Value(text, output_field=TextField()) for name, text in texts.items()}
    Job.objects.filter(pk=job_id).update(**changed)


@pytest.mark.parametrize("takes", NO_FORMS)
def test_job_that_takes_results_in_no_known_way_fails_with_the_reason(
    work: Callable[..., list[Outcome]], takes: str
) -> None:
    guilty, innocent = jobs.add.delay(1), jobs.add.delay(2)
    edit(guilty.id, options=f'{{"takes": {takes}}}')
    assert len(work()) == 2
    assert (guilty.status, innocent.status) == ("FAILURE", "SUCCESS")
    assert "takes" in guilty.job.error_message or "recursion" in guilty.job.error_message


@pytest.mark.parametrize(
    "text", [DEEP, "{", "[]", "5", "null", '"takes"', '["takes"]', '{"a": NaN}']
)
@pytest.mark.parametrize("column", ["args", "kwargs", "headers", "options"])
def test_column_that_is_no_json_fails_its_job_or_does_not_matter(
    work: Callable[..., list[Outcome]], column: str, text: str
) -> None:
    guilty, innocent = jobs.add.delay(1), jobs.add.delay(2)
    edit(guilty.id, **{column: text})
    assert len(work()) == 2
    assert innocent.status == "SUCCESS"
    # What is JSON and no call of this code may be one of newer code.
    misfits = (column, text) in (("args", "[]"), ("kwargs", '{"a": NaN}'))
    assert guilty.status in ("SUCCESS", "FAILURE", "SCHEDULED")
    assert (guilty.status == "SCHEDULED") == misfits
    assert misfits or guilty.status == "FAILURE" or text in ("null", '{"a": NaN}')


@pytest.mark.parametrize("text", [DEEP, "{", '"takes"', '{"takes": 5}'])
@pytest.mark.parametrize("column", ["args", "kwargs", "headers", "options"])
def test_job_of_a_dead_worker_is_rescued_whatever_its_row_holds(
    worker: Worker, take: Callable[..., list[Claimed]], column: str, text: str
) -> None:
    guilty = jobs.add.delay(1)
    jobs.add.delay(2)
    assert len(take()) == 2
    edit(guilty.id, **{column: text})
    Worker.objects.update(lease_until=clock("default", -1))
    assert rescue.run_once("default") == 2
    rows = Job.objects.order_by("id").values_list("status", "crashes")
    assert list(rows) == [("PENDING", 1), ("PENDING", 1)]


@pytest.mark.parametrize("cold", [False, True])
def test_job_of_a_dead_process_is_given_back_whatever_its_row_holds(
    worker: Worker, take: Callable[..., list[Claimed]], cold: bool
) -> None:
    guilty, innocent = jobs.add.delay(1), jobs.add.delay(2)
    assert len(take()) == 2
    edit(guilty.id, args=DEEP, options=DEEP)
    running = {(guilty.uuid, 1): None, (innocent.uuid, 1): TimeoutError("too long")}
    rescue.clean_up_after(worker.pk, running, "default", cold=cold)
    statuses = [guilty.status, innocent.status]
    assert statuses == (["PENDING", "PENDING"] if cold else ["PENDING", "FAILURE"])


@pytest.mark.parametrize(
    "text", ["5", "{}", '[5, ["x"], [1, 2, 3]]', '"later"', '{"countdown": "5"}']
)
@pytest.mark.parametrize("name", ["later", "link_error", "for"])
@pytest.mark.parametrize("first", [add, fail])
def test_end_of_a_job_is_recorded_whatever_the_options_of_its_dependent_hold(
    work: Callable[..., list[Outcome]], first: Any, name: str, text: str
) -> None:
    chain(first.s(1), add.s(2)).apply_async()
    before, after = Job.objects.order_by("id").values_list("pk", flat=True)
    for each in (before, after):
        known = Job.objects.get(pk=each).options or {}
        edit(each, options=json.dumps({**known, name: json.loads(text)}))
    work()
    work()
    ends = "SUCCESS" if first is add else "FAILURE"
    assert list(Job.objects.order_by("id").values_list("status", flat=True)) == [ends, ends]


WORDS = ["takes", "later", "for", "link_error", "group", "shape", "value", "nothing"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("first", [add, fail])
def test_arguments_of_an_errback_may_be_any_word_of_the_options(
    work: Callable[..., list[Outcome]], first: Any, word: str
) -> None:
    errback = received.s(word, {word: 5}, [word, {word: {word: 1}}])
    chain(first.s(1).on_error(errback), add.s(2).on_error(errback), same.s().on_error(errback))()
    for _ in range(4):
        work()
    ended = [row for row in Job.objects.order_by("id") if row.name != received.name]
    assert {row.status for row in ended} == {"SUCCESS" if first is add else "FAILURE"}
    called = Job.objects.filter(name=received.name)
    assert [row.status for row in called] == ([] if first is add else ["SUCCESS"])
    assert all(row.args[1:] == [word, {word: 5}, [word, {word: {word: 1}}]] for row in called)


def test_pages_show_a_row_that_is_no_json(boss: Client) -> None:
    guilty = jobs.add.delay(1)
    edit(guilty.id, args=DEEP[:5_000], kwargs="{", headers="]", options=DEEP[:5_000])
    assert boss.get("/admin/django_jobs/job/").status_code == 200
    assert boss.get(f"/admin/django_jobs/job/{guilty.id}/change/").status_code == 200
