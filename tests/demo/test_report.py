"""The demo site: a report whose source fails."""

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from django_jobs import Status
from django_jobs.models import Job
from testproject.airports import jobs as airport_jobs
from testproject.airports import source
from testproject.airports.models import Airport, Report
from testproject.airports.report import SourceUnavailable

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.usefixtures("eager", "few_airports")
def test_report_counts_by_country(client: Client, settings: Settings) -> None:
    settings.REPORT_FAILURE_RATE = 0
    client.post(reverse("import"))
    report = Report.objects.get()  # of the import's end
    assert {row["country"]: row["airports"] for row in report.rows} == {
        "US": 1, "GB": 1, "FR": 1, "CL": 1, "AU": 1, "NZ": 1
    }  # fmt: skip
    csv = client.get(reverse("report-csv", args=[report.pk])).content.decode()
    assert csv.startswith("country,airports,")
    assert csv.count("\n") == 7


def test_report_whose_source_stays_away_fails_after_its_retries(settings: Settings) -> None:
    settings.REPORT_FAILURE_RATE = 1
    Airport.objects.bulk_create(source.airports()[:5])
    report = Report.objects.create()
    result = airport_jobs.build_report.apply((report.pk,))
    assert (result.status, result.job.attempt) == (Status.FAILURE, 5)
    assert isinstance(result.result, SourceUnavailable)
    report.refresh_from_db()
    assert report.finished_at is None


def test_report_status_shows_the_attempt(client: Client) -> None:
    client.post(reverse("report-new"))
    Job.objects.update(status=Status.RETRY, retries=2, error_message="503")
    state = client.get(reverse("report-status", args=[Report.objects.get().pk])).json()
    assert "Attempt 2 failed (503)" in state["message"]
    assert state["stamp"] == "RETRY 2"
