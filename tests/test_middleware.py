"""The middleware that the package ships: the caller's locale, and the id of a web request."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone, translation

from django_jobs import chain, job
from django_jobs.middleware import RequestIdFilter, current_request_id
from django_jobs.models import Job
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

PATH = "django_jobs.middleware"


@pytest.fixture(autouse=True)
def setting(settings: Any) -> Any:
    settings.DJANGO_JOBS = {
        "HEADERS": [f"{PATH}.locale_headers", f"{PATH}.request_id_headers"],
        "MIDDLEWARE": [f"{PATH}.locale", f"{PATH}.request_id"],
    }
    return settings


def where() -> list[str | None]:
    return [translation.get_language(), timezone.get_current_timezone_name()]


Drain = Callable[..., list[Outcome]]


def test_job_runs_in_the_language_and_the_time_zone_of_its_caller(drain: Drain) -> None:
    function = job(where)
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        result = function.delay()
    assert result.job.headers == {"language": "de", "time_zone": "Asia/Tokyo"}
    before = where()
    drain()
    assert result.get() == ["de", "Asia/Tokyo"]
    assert where() == before


def test_fixed_offset_and_no_language_make_no_header() -> None:
    offset = datetime.timezone(datetime.timedelta(hours=3))
    with timezone.override(offset):
        translation.deactivate_all()
        try:
            result = jobs.add.delay(1)
        finally:
            translation.deactivate()
    assert result.job.headers in (None, {})


@pytest.mark.parametrize("zone", ["Nowhere/Town", "../etc/passwd", "x\0"])
def test_unknown_time_zone_is_logged_and_left_out(
    drain: Drain, caplog: pytest.LogCaptureFixture, zone: str
) -> None:
    result = job(where).apply_async()
    Job.objects.update(headers={"time_zone": zone, "language": 5})
    drain()
    assert result.get() == where()
    assert f"id={result.id}: the header time_zone is left out" in caplog.text
    assert zone not in caplog.text


def the_id() -> str:
    return current_request_id.get()


def test_jobs_have_the_id_of_the_request_that_caused_them(drain: Drain) -> None:
    function = job(the_id)

    @job
    def enqueue() -> str:
        return function.delay().id

    token = current_request_id.set("r-1")
    result, cause = function.delay(), enqueue.delay()
    current_request_id.reset(token)
    drain()
    assert result.get() == "r-1"
    assert Job.objects.get(pk=cause.get()).result == "r-1"
    assert current_request_id.get() == ""


def test_without_a_request_a_workflow_has_the_id_of_its_first_job(drain: Drain) -> None:
    alone = job(the_id).delay()
    first = job(name="first")(first_id)
    second = job(name="second")(both_ids)
    both = chain(first.s(), second.s()).apply_async()
    drain()
    assert alone.get() == alone.id
    ids = both.get()
    assert ids[0] == ids[1] == str(both.job.root_id)


def first_id() -> str:
    return the_id()


def both_ids(before: str) -> list[str]:
    return [before, the_id()]


def test_filter_gives_records_the_id() -> None:
    record = logging.makeLogRecord({})
    assert RequestIdFilter().filter(record)
    assert vars(record)["request_id"] == "-"
    token = current_request_id.set("r-2")
    RequestIdFilter().filter(record)
    current_request_id.reset(token)
    assert vars(record)["request_id"] == "r-2"
