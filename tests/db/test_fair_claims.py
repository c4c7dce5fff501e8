"""Fair queues: keys take turns, on every database alike."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from django_jobs.control import move, pause_queue, resume_queue
from django_jobs.db import dialect_for
from django_jobs.db.turns import Head, _merged
from django_jobs.log import fair_queues
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim
from tests import jobs
from tests.races import held
from tests.waiting import LONG

pytestmark = pytest.mark.django_db


@pytest.fixture
def fair(settings: Any) -> Callable[..., None]:
    def fair(by: Any = "tenant", **options: Any) -> None:
        """Make the queue ``imports`` fair; with None it is a plain one."""
        queue = {"FAIR_BY": by, **options} if by is not None else {}
        settings.DJANGO_JOBS = {"QUEUES": {"imports": queue}}

    fair()
    return fair


@pytest.fixture(autouse=True)
def _is_fair(fair: object) -> None:
    """Every test has a fair queue."""


def enqueue(tenant: object, number: int = 1, queue: str = "imports", priority: int = 0) -> None:
    calls = ((tenant, n) for n in range(number))
    jobs.of_tenant.delay_many(calls, queue=queue, priority=priority)


Order = Callable[..., list[Any]]


@pytest.fixture
def order(worker: Worker) -> Order:
    def order(limit: int = 1, queues: Sequence[str] = ("imports",), claims: int = 0) -> list[Any]:
        """Return the tenants of all jobs, or of some *claims*, in claims of *limit* jobs."""
        found: list[Any] = []
        while True:
            claimed, more = claim(worker.pk, list(queues), limit, "default")
            found += tenants(claimed)
            claims -= 1
            if not (claimed or more) or not claims:
                return found

    return order


def tenants(claimed: Sequence[Any]) -> list[Any]:
    rows = Job.objects.in_bulk([job.id for job in claimed])
    return [rows[job.id].args[0] for job in claimed]


# --- turns --------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 10, 1_000])
def test_job_of_a_key_waits_for_one_turn_of_the_others(order: Order, limit: int) -> None:
    enqueue("A", 100)
    enqueue("B")
    enqueue("C", 5)
    found = order(limit)
    assert Counter(found) == {"A": 100, "B": 1, "C": 5}
    assert found.index("B") <= 2
    assert found[:11].count("C") == 5


@pytest.mark.parametrize("limit", [1, 3])
def test_job_that_comes_later_waits_for_one_turn_of_the_others(order: Order, limit: int) -> None:
    for tenant in ("A", "C", "D"):
        enqueue(tenant, 50)
    order(limit, claims=7)
    enqueue("B")
    assert order(limit).index("B") <= 3


def test_no_key_has_a_second_turn_before_all_had_the_first(order: Order) -> None:
    calls = ((number % 300, number) for number in range(900))
    jobs.of_tenant.delay_many(calls, queue="imports")
    found = order(7)
    for start in (0, 300, 600):
        assert len(set(found[start : start + 300])) == 300


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_idle_key_saves_no_turns(order: Order, limit: int) -> None:
    enqueue("A", 40)
    order(limit, claims=20 // limit)
    enqueue("B", 40)
    # B was not there while A had 20 turns. Now they share alike.
    found = order(limit)
    assert abs(found[:20].count("A") - found[:20].count("B")) <= 1


def test_priority_and_age_order_the_jobs_of_a_key_only(worker: Worker) -> None:
    jobs.of_tenant.apply_async(("A", 0), queue="imports")
    jobs.of_tenant.apply_async(("A", 1), queue="imports", priority=5)
    jobs.of_tenant.apply_async(("A", 2), queue="imports", priority=5)
    jobs.of_tenant.apply_async(("B", 3), queue="imports", priority=-9)
    found = []
    for _ in range(4):
        (job,), _more = claim(worker.pk, ["imports"], 1, "default")
        found.append(Job.objects.get(pk=job.id).args)
    assert [number for tenant, number in found if tenant == "A"] == [1, 2, 0]
    assert found.index(["B", 3]) <= 1


def test_keys_are_told_apart_by_every_character(order: Order) -> None:
    keys = ["a", "A", "á", "a ", "", "ß", "ss", "😀", "x" * 200, "x" * 201, "1", 2, None, "%s", "'"]
    for key in keys:
        enqueue(key, 2)
    found = order(4)
    assert Counter(map(str, found)) == Counter(map(str, keys * 2))
    assert Job.objects.values("fair_key").distinct().count() == len(keys) - 1  # None is ""


# --- weights ------------------------------------------------------------------------------------


def weigh(key: str) -> int:
    return {"A": 3}.get(key, 1)


@pytest.mark.parametrize("weights", [{"A": 3}, weigh, f"{__name__}.weigh"])
@pytest.mark.parametrize("limit", [1, 2, 3, 8, 100])
def test_weight_is_how_many_jobs_a_turn_has(
    fair: Callable[..., None], order: Order, weights: Any, limit: int
) -> None:
    fair(WEIGHTS=weights)
    enqueue("A", 30)
    enqueue("B", 10)
    found = order(limit)
    assert Counter(found) == {"A": 30, "B": 10}
    first = found.index("B")
    # Turns of three and one, wherever the first one begins.
    turns = found[first:]
    for start in range(0, len(turns) - 3, 4):
        assert turns[start : start + 4] == ["B", "A", "A", "A"]
    assert first in (0, 3)


def test_weights_of_numbers_and_of_secrets(fair: Callable[..., None], order: Order) -> None:
    fair("number", WEIGHTS={7: 2})
    jobs.of_tenant.delay_many([("x", 7)] * 4 + [("y", 8)] * 2, queue="imports")
    assert sorted(order(3)[:3]) == ["x", "x", "y"]


@pytest.mark.parametrize("weight", [0, 101, "3", 2.0, True, None])
def test_weight_that_is_none_is_one_and_is_logged_once(
    fair: Callable[..., None],
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    weight: Any,
) -> None:
    monkeypatch.setattr(fair_queues, "_warned", set())
    fair(WEIGHTS=lambda key: weight)
    enqueue("A", 5)
    enqueue("B", 5)
    assert Counter(order()[:4]) == {"A": 2, "B": 2}
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "weight ignored queue=imports" in record.getMessage()


def test_weights_that_raise_stop_no_key(
    fair: Callable[..., None],
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fair_queues, "_warned", set())

    def broken(key: str) -> int:
        raise LookupError(f"secret {key}")

    fair(WEIGHTS=broken)
    enqueue("A", 2)
    assert order() == ["A", "A"]
    assert "WEIGHTS raised LookupError" in caplog.text
    assert "secret" not in caplog.text


# --- beside other queues ------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_fair_and_plain_queues_go_by_priority_then_age(order: Order, limit: int) -> None:
    enqueue("plain-1", queue="plain")
    enqueue("A", 3)
    enqueue("plain-2", queue="plain")
    enqueue("urgent", queue="plain", priority=5)
    enqueue("A", priority=9)
    found = order(limit, ["imports", "plain"])
    assert found == ["A", "urgent", "plain-1", "A", "A", "A", "plain-2"]


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_old_jobs_of_one_key_do_not_delay_another_key_beside_a_plain_queue(
    order: Order, limit: int
) -> None:
    enqueue("A", 20)
    enqueue("plain", 3, queue="plain")
    enqueue("B")
    found = order(limit, ["imports", "plain"])
    assert Counter(found) == {"A": 20, "plain": 3, "B": 1}
    assert found.index("B") <= 5


def test_jobs_of_several_queues_are_merged_and_none_overtakes_in_its_queue() -> None:
    def head(number: int, queue: str, rank: int = 0) -> Head:
        return Head(UUID(int=number), rank, queue)

    fair = [head(1, "f"), head(9, "f"), head(2, "f"), head(3, "f", rank=-5)]
    plain = [head(4, "p", rank=-1), head(5, "p"), head(8, "p"), head(10, "p")]
    merged = [(each.queue, each.id.int) for each in _merged([fair, plain])]
    assert merged == [
        ("p", 4), ("f", 1), ("p", 5), ("p", 8), ("f", 9), ("f", 2), ("f", 3), ("p", 10),
    ]  # fmt: skip


def test_several_fair_queues_have_turns_of_their_own(settings: Any, order: Order) -> None:
    settings.DJANGO_JOBS = {
        "QUEUES": {"imports": {"FAIR_BY": "tenant"}, "exports": {"FAIR_BY": "number"}}
    }
    enqueue("A", 6)
    enqueue("B")
    jobs.of_tenant.delay_many([("C", 1)] * 6 + [("D", 2)], queue="exports")
    found = order(2, ["exports", "imports"])
    assert Counter(found) == {"A": 6, "B": 1, "C": 6, "D": 1}
    assert [each for each in found if each in "AB"].index("B") <= 1
    assert [each for each in found if each in "CD"].index("D") <= 1


@pytest.mark.parametrize("queues", [["plain"], ["plain", "other"]])
def test_claim_of_plain_queues_stays_as_it_is(
    fair: Callable[..., None], worker: Worker, queues: list[str]
) -> None:
    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            claim(worker.pk, queues, 5, "default")
        return [query["sql"].split("WHERE")[1] for query in captured.captured_queries if
                "WHERE" in query["sql"]]  # fmt: skip

    beside = statements()
    fair(None)
    assert statements() == beside
    assert not any("fair" in sql for sql in beside)


# --- jobs without a key -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_jobs_from_before_the_queue_was_fair_take_turns_too(
    fair: Callable[..., None], order: Order, limit: int
) -> None:
    fair(None)
    enqueue("old", 10)
    fair()
    enqueue("A", 10)
    enqueue("B")
    found = order(limit)
    assert Counter(found) == {"old": 10, "A": 10, "B": 1}
    assert found.index("B") <= 2
    assert found[:6].count("old") in (2, 3)


def test_jobs_with_keys_are_plain_jobs_when_the_queue_is_plain_again(
    fair: Callable[..., None], order: Order
) -> None:
    enqueue("A", 3)
    enqueue("B")
    fair(None)
    assert order(2) == ["A", "A", "A", "B"]


# --- several workers ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("queues", [["imports"], ["imports", "plain"]])
def test_no_job_of_a_fair_queue_is_claimed_twice(
    new_worker: Callable[..., Worker], queues: list[str]
) -> None:
    calls = [(number % 5, number) for number in range(200)]
    jobs.of_tenant.delay_many(calls, queue="imports")
    jobs.of_tenant.delay_many(calls[:60], queue="plain")
    total = Job.objects.filter(queue__in=queues).count()
    claimed: list[list[UUID]] = [[] for _ in range(4)]
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def work(mine: list[UUID], worker_id: UUID) -> None:
        barrier.wait(LONG)
        try:
            while True:
                found, more = claim(worker_id, queues, 7, "default")
                mine += [job.id for job in found]
                if not found and not more:
                    return
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(mine, new_worker().pk)) for mine in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    everything = [job_id for mine in claimed for job_id in mine]
    assert len(everything) == len(set(everything)) == total


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [1, 2, 10])
@pytest.mark.parametrize("queues", [["imports"], ["imports", "plain"]])
def test_locked_jobs_hide_neither_their_key_s_others_nor_other_keys(
    order: Order, vendor: str, limit: int, queues: list[str]
) -> None:
    if vendor == "sqlite":
        return  # One writer at a time: there are no locked rows to pass by.
    enqueue("A", 12)
    enqueue("B", 2)
    with held(lambda: list(Job.objects.select_for_update().order_by("id")[:10])):
        assert Counter(order(limit, queues, claims=5)) == {"A": 2, "B": 2}
    assert order(limit, queues) == ["A"] * 10


def test_two_workers_at_one_place_take_different_jobs(
    new_worker: Callable[..., Worker], worker: Worker
) -> None:
    enqueue("A", 4)
    turns = dialect_for(connection)._turns
    first, _more = claim(worker.pk, ["imports"], 2, "default")
    turns._places.clear()
    second, _more = claim(new_worker().pk, ["imports"], 2, "default")
    assert len({job.id for job in [*first, *second]}) == 4


@pytest.mark.parametrize("queues", [["imports"], ["imports", "plain"]])
def test_worker_whose_lease_is_over_claims_nothing(
    new_worker: Callable[..., Worker], queues: list[str]
) -> None:
    enqueue("A")
    enqueue("A", queue="plain")
    # Not even "there is more", at which it would look for jobs behind these.
    assert claim(new_worker(-1).pk, queues, 5, "default") == ([], False)
    assert not Job.objects.exclude(status="PENDING").exists()


# --- limits, pauses, moves ----------------------------------------------------------------------


@pytest.mark.parametrize("queues", [["imports"], ["imports", "plain"]])
def test_paused_fair_queue_gives_no_jobs(order: Order, queues: list[str]) -> None:
    enqueue("A", 2)
    pause_queue("imports")
    assert order(queues=queues) == []
    resume_queue("imports")
    assert order(queues=queues) == ["A", "A"]


def test_key_at_its_limit_does_not_stop_the_others(work: Callable[..., list[Any]]) -> None:
    jobs.one_a_tenant.delay_many([("A",)] * 5 + [("B",)] * 2, queue="imports")
    ended = work(limit=3, queues=["imports"])
    assert ended
    names = [Job.objects.get(pk=outcome.job.id).args[0] for outcome in ended]
    assert "B" in names
    while ended:
        ended = work(limit=3, queues=["imports"])
    assert set(Job.objects.values_list("status", flat=True)) == {"SUCCESS"}


def test_moved_jobs_get_the_keys_of_their_new_queue(order: Order) -> None:
    enqueue("A", 3, queue="plain")
    enqueue("B", 1, queue="plain")
    assert set(Job.objects.values_list("fair_key", flat=True)) == {None}
    move(list(Job.objects.values_list("pk", flat=True)), queue="imports")
    keys = set(Job.objects.values_list("fair_key", flat=True))
    assert sorted(str(key)[9:] for key in keys) == ["A", "B"]
    assert order().index("B") <= 1


def test_jobs_that_leave_a_fair_queue_leave_their_keys() -> None:
    enqueue("A", 2)
    assert move(list(Job.objects.values_list("pk", flat=True)), queue="plain")[0] == 2
    assert set(Job.objects.values_list("fair_key", flat=True)) == {None}


def test_moved_job_without_a_function_has_no_key_and_runs(order: Order) -> None:
    enqueue("A", 1, queue="plain")
    Job.objects.update(name="gone.from.code")
    move(list(Job.objects.values_list("pk", flat=True)), queue="imports")
    assert Job.objects.get().fair_key is None
    assert order() == ["A"]


def test_job_that_takes_over_a_unique_one_takes_its_own_key() -> None:
    for tenant in ("A", "B"):
        jobs.one_import.apply_async((tenant,), queue="imports")
    assert str(Job.objects.get().fair_key)[9:] == "B"


def test_scheduled_job_has_its_key_from_the_start() -> None:
    jobs.of_tenant.apply_async(("A",), queue="imports", countdown=60)
    row = Job.objects.get()
    assert (row.status, str(row.fair_key)[9:]) == ("SCHEDULED", "A")
