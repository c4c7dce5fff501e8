"""The demo site: import of all airports, and the search for the loneliest one."""

import datetime

import pytest
from django.test import Client
from django.urls import reverse

from django_jobs import Status
from django_jobs.ids import uuid7
from django_jobs.models import Job
from testproject.airports import jobs as airport_jobs
from testproject.airports import source
from testproject.airports.distance import kilometres, nearest, point
from testproject.airports.models import Airport, Comparison, ImportRun, Part

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def test_import_enqueues_chunks_that_cover_all(client: Client) -> None:
    client.post(reverse("import"))
    run = ImportRun.objects.get()
    airport_jobs.import_airports(run.pk)
    chunks = [
        job.args[1:] for job in Job.objects.filter(name__endswith="import_chunk").order_by("id")
    ]
    assert chunks[0][0] == 0
    assert [end for _, end in chunks[:-1]] == [first for first, _ in chunks[1:]]
    assert chunks[-1][1] == len(source.airports()) > 28_000
    state = client.get(reverse("import-status", args=[run.pk])).json()
    assert (state["done"], state["total"], state["ended"]) == (0, len(source.airports()), False)


@pytest.mark.usefixtures("eager", "few_airports")
def test_import_twice_keeps_one_row_each(client: Client) -> None:
    client.post(reverse("import"))
    Airport.objects.filter(code="KJFK").update(name="Idlewild")
    client.post(reverse("import"))
    assert [run.imported for run in ImportRun.objects.all()] == [6, 6]
    assert Airport.objects.count() == 6
    assert str(Airport.objects.get(code="KJFK")).startswith("John F Kennedy")


@pytest.mark.usefixtures("few_airports")
def test_import_after_a_crash_enqueues_its_chunks_once() -> None:
    run = ImportRun.objects.create()
    assert airport_jobs.import_airports(run.pk) == 2
    assert airport_jobs.import_airports(run.pk) == 0
    assert Job.objects.count() == 2


def test_import_while_another_runs_is_refused(client: Client) -> None:
    client.post(reverse("import"))
    client.post(reverse("import"))
    assert ImportRun.objects.count() == 1
    stale = ImportRun.objects.get().started_at - datetime.timedelta(hours=1)
    ImportRun.objects.update(started_at=stale)
    client.post(reverse("import"))
    assert ImportRun.objects.count() == 2


@pytest.mark.usefixtures("eager", "few_airports")
def test_last_chunk_starts_the_first_comparison(client: Client) -> None:
    client.post(reverse("import"))
    client.post(reverse("import"))
    comparison = Comparison.objects.get()
    assert (comparison.airports, comparison.pairs) == (6, 30)
    loneliest = comparison.loneliest()[0]
    assert (loneliest.airport_id, loneliest.nearest_id) == ("SCIP", "NZAA")
    assert loneliest.kilometres == pytest.approx(7_040, abs=10)
    html = client.get(reverse("airports")).content.decode()
    assert "John F Kennedy" in html
    assert client.get(reverse("comparison-status", args=[comparison.pk])).json()["ended"]


def test_comparison_shares_out_every_airport(monkeypatch: pytest.MonkeyPatch) -> None:
    Airport.objects.bulk_create(source.airports()[:205])
    comparison = airport_jobs.compare("ALL")
    assert [(part.first, part.end) for part in comparison.parts.all()] == [
        (0, 50),
        (50, 100),
        (100, 150),
        (150, 200),
        (200, 205),
    ]
    jobs = Job.objects.order_by("id")
    assert [job.pk for job in jobs] == list(comparison.parts.values_list("job_id", flat=True))
    assert {(job.queue, job.priority) for job in jobs} == {("maths", -10)}


@pytest.mark.usefixtures("few_airports")
def test_part_computed_twice_keeps_one_row_each() -> None:
    Airport.objects.bulk_create(source.airports())
    airport_jobs.compare("ALL")
    part = Part.objects.get()
    airport_jobs.compare_airports(part.pk)
    airport_jobs.compare_airports(part.pk)
    assert part.neighbour_set.count() == 6


def test_comparison_of_unknown_country_is_refused(client: Client) -> None:
    html = client.post(reverse("compare"), {"scope": "XX"}, follow=True).content.decode()
    assert "There are no such airports" in html
    assert not Comparison.objects.exists()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0), (0, 180), 20_015.1),  # half the circumference
        ((90, 0), (-90, 77), 20_015.1),
        ((40.639928, -73.778692), (51.4706, -0.461941), 5_540.0),  # New York to London
        ((10, 10), (10, 10), 0.0),
    ],
)
def test_kilometres_of_known_pairs(
    first: tuple[float, float], second: tuple[float, float], expected: float
) -> None:
    assert kilometres(point(*first), point(*second)) == pytest.approx(expected, abs=5)


def test_nearest_agrees_with_measuring_each() -> None:
    points = [point(a.latitude, a.longitude) for a in source.airports()[::150]]
    for index in range(0, len(points), 7):
        others = [i for i in range(len(points)) if i != index]
        closest = min(kilometres(points[index], points[other]) for other in others)
        assert kilometres(points[index], points[nearest(index, points)]) == closest


def test_import_reports_failed_chunks(client: Client) -> None:
    run = ImportRun.objects.create(total=10, imported=4, job_id=uuid7())
    result = airport_jobs.import_chunk.delay(run.pk, 0, 5)
    Job.objects.filter(pk=result.id).update(status=Status.FAILURE, parent_id=run.job_id)
    state = client.get(reverse("import-status", args=[run.pk])).json()
    assert (state["ended"], state["status"]) == (True, "FAILURE")
    assert "1 chunks failed" in state["message"]
