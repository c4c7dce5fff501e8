"""Jobs are asked for by priority, although their column holds the negated one."""

from __future__ import annotations

import pytest
from django.core import serializers
from django.db import connection
from django.db.models import Count, F, Max, Q
from django.db.models.sql.compiler import SQLCompiler

from django_jobs.models import Job
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


@pytest.fixture
def five() -> None:
    """Jobs of the priorities -3, 0, 0, 5 and 9."""
    for priority in (0, 5, -3, 9, 0):
        jobs.add.apply_async((priority,), priority=priority)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Q(priority=5), [5]),
        (Q(priority__in=[5, 9]), [5, 9]),
        (Q(priority__gt=0), [5, 9]),
        (Q(priority__lte=0), [-3, 0, 0]),
        (Q(priority__range=(-5, 0)), [-3, 0, 0]),
        (~Q(priority=0), [-3, 5, 9]),
        (Q(priority__gt=F("rank")), [5, 9]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("five")
def test_filter_by_priority(wanted: Q, found: list[int]) -> None:
    rows = Job.objects.filter(wanted)
    assert sorted(job.priority for job in rows) == found
    assert rows.count() == len(found)


@pytest.mark.usefixtures("five")
def test_order_and_values_by_priority() -> None:
    rows = Job.objects.order_by("priority")
    assert [job.priority for job in rows] == [-3, 0, 0, 5, 9]
    assert list(rows.values_list("priority", flat=True)) == [-3, 0, 0, 5, 9]
    assert [job.priority for job in rows.reverse()] == [9, 5, 0, 0, -3]
    assert Job.objects.order_by("-priority").values("priority", "rank").first() == {
        "priority": 9,
        "rank": -9,
    }


@pytest.mark.usefixtures("five")
def test_priorities_are_aggregated_and_grouped() -> None:
    assert Job.objects.aggregate(top=Max("priority")) == {"top": 9}
    groups = Job.objects.values("priority").annotate(number=Count("id")).order_by("priority")
    assert [(group["priority"], group["number"]) for group in groups] == [
        (-3, 1), (0, 2), (5, 1), (9, 1),
    ]  # fmt: skip
    above = Job.objects.filter(priority__gt=0)
    assert Job.objects.filter(priority__in=above.values("priority")).count() == 2


@pytest.mark.usefixtures("five")
def test_priority_is_updated_and_set() -> None:
    assert Job.objects.filter(priority=5).update(priority=F("priority") + 2) == 1
    assert Job.objects.filter(priority=9).update(priority=1) == 1
    job = Job.objects.get(priority=7)
    assert job.rank == -7
    job.priority = 4
    job.save(update_fields=["rank"])
    assert sorted(Job.objects.values_list("priority", flat=True)) == [-3, 0, 0, 1, 4]
    assert Job(priority=6).rank == -6


def test_priority_is_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "priority" not in {field.name for field in Job._meta.concrete_fields}
    with connection.cursor() as cursor:
        table = connection.introspection.get_table_description(cursor, Job._meta.db_table)
    assert "priority" not in {column.name for column in table}
    sql, _params = SQLCompiler(Job.objects.ready().query, connection, "default").as_sql()
    assert "(-" not in sql
    (text,) = [serializers.serialize("json", [Job(name="a")])]
    assert "priority" not in text
