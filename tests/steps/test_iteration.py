from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from django_jobs import job
from django_jobs.control import pause_queue, resume_queue, retry, run_now, set_limits
from django_jobs.define.context import JobContext
from django_jobs.models import Job, Step
from django_jobs.steps import iteration
from django_jobs.values import Outcome

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]


@pytest.fixture
def seen() -> list[list[str]]:
    return []


@pytest.fixture
def groups() -> None:
    Group.objects.bulk_create(Group(name=f"{number}") for number in range(7))


def names(rows: list[Group]) -> list[str]:
    return [row.name for row in rows]


def test_loop_goes_through_all_rows_once(
    registered: Any, run: Any, groups: None, seen: list[list[str]]
) -> None:
    @job(bind=True)
    def go(self: JobContext) -> None:
        every = Group.objects.order_by("-name")
        seen.extend(names(rows) for rows in self.iterate("all", every, batch=3))

    assert run(go).status == "SUCCESS"
    assert seen == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    row = Step.objects.get()
    assert (row.kind, row.function, row.state, row.result) == ("iteration", "auth.group", "DONE", 7)
    retry([Job.objects.get().pk])
    assert Step.objects.count() == 0


def test_next_attempt_goes_on_from_the_last_batch(
    registered: Any, work: Work, groups: None, seen: list[list[str]]
) -> None:
    @job(bind=True)
    def go(self: JobContext) -> int:
        for rows in self.iterate("all", Group.objects.all(), batch=3):
            seen.append(names(rows))
            if len(seen) == 2:
                raise ValueError
        return sum(len(rows) for rows in self.iterate("others", Group.objects.none()))

    result = go.delay()
    assert work()[0].status == "FAILURE"
    row = Step.objects.get()
    assert (row.state, row.data["done"], row.data["total"]) == ("OPEN", 3, 7)
    retry([result.id])
    assert work()[0].value == 0
    assert seen == [["0", "1", "2"], ["3", "4", "5"], ["3", "4", "5"], ["6"]]


def test_progress_is_shown(registered: Any, work: Work, groups: None) -> None:
    from django_jobs.run.environment import Environment

    shown: list[Any] = []
    environment = Environment(report=lambda context, progress: shown.append(progress))

    @job(bind=True)
    def go(self: JobContext) -> None:
        for _rows in self.iterate("all", Group.objects.all(), batch=4):
            pass

    go.delay()
    work(environment=environment)
    assert [(each["done"], each["total"], each["message"]) for each in shown] == [
        (4, 7, "all"), (7, 7, "all"),
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["raise", "break", "keep"])
def test_atomic_batch_is_one_unit_with_its_place(
    registered: Any, work: Work, groups: None, way: str
) -> None:
    @job(bind=True)
    def go(self: JobContext) -> None:
        outside = len(connection.savepoint_ids)
        batches = self.iterate("all", Group.objects.filter(name__lt="7"), batch=3, atomic=True)
        kept = [batches] if way == "keep" else []
        for rows in batches:
            Group.objects.bulk_create(Group(name=f"x{row.name}") for row in rows)
            if rows[0].name == "3":
                if way == "raise":
                    raise ValueError
                break
        del batches
        assert len(connection.savepoint_ids) == outside + len(kept)

    go.delay()
    before = len(connection.savepoint_ids)
    assert work()[0].status == ("FAILURE" if way == "raise" else "SUCCESS")
    assert len(connection.savepoint_ids) == before
    written = Group.objects.filter(name__startswith="x").order_by("name")
    assert names(list(written)) == ["x0", "x1", "x2"]
    row = Step.objects.get()
    assert (row.state, row.data["done"]) == ("OPEN", 3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("conflicts", "end"), [(2, "SUCCESS"), (99, "FAILURE")])
def test_atomic_batch_is_repeated_after_a_conflict(
    registered: Any, drain: Any, vendor: str, conflicts: int, end: str
) -> None:
    if vendor == "sqlite":
        pytest.skip("a transaction that begins with BEGIN IMMEDIATE meets no conflict")
    Group.objects.bulk_create(Group(name=str(number)) for number in range(6))
    tries: list[str] = []

    def conflict() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"
                if vendor == "postgresql"
                else "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"
            )

    @job(bind=True, max_retries=0)
    def go(self: JobContext) -> None:
        groups = Group.objects.filter(name__lt="7")
        for rows in self.iterate("all", groups, batch=2, atomic=True):
            Group.objects.bulk_create(Group(name=f"x{row.name}") for row in rows)
            tries.append(rows[0].name)
            if rows[0].name == "2" and tries.count("2") <= conflicts:
                conflict()

    go.delay()
    outcomes = drain()
    assert [outcome.status for outcome in outcomes[:-1]] == ["PENDING"] * (len(outcomes) - 1)
    assert (outcomes[-1].status, outcomes[-1].retries) == (end, 0)
    written = names(list(Group.objects.filter(name__startswith="x").order_by("name")))
    if end == "SUCCESS":
        assert tries == ["0", "2", "2", "2", "4"]
        assert written == ["x0", "x1", "x2", "x3", "x4", "x5"]
        assert Step.objects.get().state == "DONE"
    else:
        assert tries == ["0", *["2"] * 8]
        assert written == ["x0", "x1"]


def test_paused_queue_suspends_the_job_between_batches(
    registered: Any, work: Work, groups: None, seen: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(iteration, "_LOOK_SECONDS", 0.0)

    @job(bind=True)
    def go(self: JobContext) -> str:
        for rows in self.iterate("all", Group.objects.all(), batch=4):
            seen.append(names(rows))
            if len(seen) == 1:
                pause_queue("default")
        return "done"

    go.delay()
    assert work()[0].status == "PENDING"
    assert (Job.objects.get().status, Step.objects.get().state) == ("PENDING", "OPEN")
    assert work() == []
    resume_queue("default")
    assert work()[0].value == "done"
    assert [len(each) for each in seen] == [4, 3]


def test_rate_limit_counts_batches(
    registered: Any, work: Work, groups: None, seen: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(iteration, "_LOOK_SECONDS", 0.0)

    @job(bind=True)
    def go(self: JobContext) -> str:
        for rows in self.iterate("all", Group.objects.all(), batch=2):
            seen.append(names(rows))
            if len(seen) == 2:
                set_limits(go.name, rate_limit="1/h")
        return "done"

    go.delay()
    assert work()[0].status == "PENDING"
    assert len(seen) == 2
    work()
    assert work() == []
    assert Job.objects.get().status == "SCHEDULED"
    assert len(seen) == 3
    set_limits(go.name, rate_limit=None)
    run_now([Job.objects.get().pk])
    assert work()[0].value == "done"
    assert [len(each) for each in seen] == [2, 2, 2, 1]


def test_last_batch_under_a_rate_limit_ends_the_job(
    registered: Any, work: Work, groups: None, seen: list[list[str]]
) -> None:
    @job(bind=True, rate_limit="1/h")
    def go(self: JobContext) -> str:
        seen.extend(names(rows) for rows in self.iterate("all", Group.objects.all(), batch=7))
        return "done"

    go.delay()
    assert work()[0].value == "done"
    assert [len(each) for each in seen] == [7]


def test_what_cannot_be_iterated_is_refused(registered: Any, run: Any, groups: None) -> None:
    @job(bind=True)
    def go(self: JobContext) -> None:
        every = Group.objects.all()
        with pytest.raises(TypeError, match="takes a queryset, got a list"):
            self.iterate("a", list(every))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not sliced"):
            self.iterate("a", Group.objects.all()[:3])
        for batch in (0, -1, True, "many"):
            with pytest.raises(ValueError, match=r"iterate\(batch=...\) must be an integer"):
                self.iterate("a", every, batch=batch)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="rows of type dict"):
            next(self.iterate("values", every.values("name")))  # type: ignore[type-var]

    assert run(go).status == "SUCCESS"


def test_coroutine_iterates(registered: Any, run: Any, groups: None, seen: list[list[str]]) -> None:
    @job(bind=True)
    async def go(self: JobContext) -> None:
        batches = self.aiterate("all", Group.objects.all(), batch=5)
        seen.extend([names(rows) async for rows in batches])

    assert run(go).status == "SUCCESS"
    assert [len(each) for each in seen] == [5, 2]
    assert Step.objects.get().state == "DONE"


def test_eager_job_iterates(registered: Any, groups: None, seen: list[list[str]]) -> None:
    @job(bind=True, autoretry_for=(ValueError,))
    def go(self: JobContext) -> None:
        for rows in self.iterate("all", Group.objects.all(), batch=5):
            seen.append(names(rows))
            if self.request.retries == 0:
                raise ValueError

    go.apply().get()
    assert [len(each) for each in seen] == [5, 5, 2]
