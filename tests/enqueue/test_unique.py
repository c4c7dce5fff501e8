from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from django_jobs import DuplicateKey, job
from django_jobs.control import retry, revoke
from django_jobs.db import clock
from django_jobs.db.tables import UNIQUE_KEYS
from django_jobs.enqueue import unique as uniqueness
from django_jobs.ids import uuid7
from django_jobs.maintenance import prune, prune_unique_keys
from django_jobs.models import Job, UniqueKey
from django_jobs.values import Outcome
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Work = Callable[..., list[Outcome]]


@job(unique=True, name="tests.unique")
def unique(user_id: int, note: str = "") -> int:
    return user_id


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered[unique.name] = unique


def test_second_copy_is_the_live_job() -> None:
    first = unique.delay(1)
    assert unique.delay(1) == first
    assert unique.delay(user_id=1, note="") == first
    assert unique.delay(2) != first
    assert unique.delay(1, "other") != first
    assert Job.objects.count() == 3


@pytest.mark.parametrize("status", ["WAITING", "SCHEDULED", "STARTED", "RETRY"])
def test_every_live_status_holds_the_key(status: str) -> None:
    first = unique.delay(1)
    Job.objects.update(status=status)
    assert unique.delay(1) == first


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "REVOKED"])
def test_an_ended_job_gives_the_key_back(status: str) -> None:
    first = unique.delay(1)
    Job.objects.update(status=status)
    assert unique.delay(1) != first


def test_a_deleted_job_gives_the_key_back() -> None:
    unique.delay(1)
    Job.objects.all().delete()
    unique.delay(1)
    assert Job.objects.count() == 1


def test_raise_refuses_the_copy_and_the_transaction_can_commit() -> None:
    @job(unique="raise")
    def body(a: int) -> None: ...

    first = body.delay(1)
    with transaction.atomic():
        with pytest.raises(DuplicateKey, match=f"is live as job {first.id}"):
            body.delay(1)
        body.delay(2)
    assert Job.objects.count() == 2


def test_unique_for_holds_the_key_after_a_success(work: Work) -> None:
    @job(unique_for=60)
    def body() -> None: ...

    first = body.delay()
    work()
    assert body.delay() == first
    UniqueKey.objects.update(until=timezone.now() - datetime.timedelta(hours=1))
    assert body.delay() != first


def test_unique_for_holds_nothing_after_a_failure(work: Work) -> None:
    @job(unique_for=60, max_retries=0)
    def body() -> None:
        raise ValueError

    first = body.delay()
    work()
    assert body.delay() != first


def test_unique_for_keeps_the_key_from_a_job_that_still_lives() -> None:
    @job(unique_for=60)
    def body() -> None: ...

    first = body.delay()
    UniqueKey.objects.update(until=timezone.now() - datetime.timedelta(hours=1))
    assert body.delay() == first


def test_unique_key_names_parameters() -> None:
    @job(unique=True, unique_key=["user_id"])
    def body(user_id: int, note: str = "") -> None: ...

    first = body.delay(1, note="a")
    assert body.delay(1, note="b") == first
    assert body.delay(user_id=1) == first
    assert body.delay(2, note="a") != first


def test_unique_key_of_a_parameter_that_is_not_there() -> None:
    @job(unique=True, unique_key=["user"])
    def body(user_id: int) -> None: ...

    with pytest.raises(
        ImproperlyConfigured, match=r"names 'user', which is not a parameter\. Use some of user_id"
    ):
        body.delay(1)


def test_unique_key_computed() -> None:
    @job(unique=True, unique_key=lambda email: email.lower())
    def body(email: str) -> None: ...

    assert body.delay("A@x.org") == body.delay("a@x.ORG")


def test_same_key_of_two_functions_is_two_keys() -> None:
    @job(unique=True)
    def other(user_id: int, note: str = "") -> None: ...

    unique.delay(1)
    other.delay(1)
    assert Job.objects.count() == 2


def test_keys_are_taken_in_their_order_whatever_that_of_the_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[str] = []
    acquire = uniqueness.acquire_key

    def note(key: str, *rest: Any) -> Any:
        taken.append(key)
        return acquire(key, *rest)

    monkeypatch.setattr(uniqueness, "acquire_key", note)
    unique.delay_many([(number,) for number in range(8)])
    assert len(set(taken)) == 8
    assert taken == sorted(taken)


def test_copies_in_one_call_are_one_row() -> None:
    results = unique.delay_many([(1,), (2,), (1,), {"user_id": 2}])
    assert results[0] == results[2]
    assert results[1] == results[3]
    assert [row.args for row in Job.objects.order_by("id")] == [[1], [2]]


def test_nothing_new_writes_nothing() -> None:
    first = unique.delay(1)
    assert unique.delay_many([(1,), (1,)]) == [first, first]
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_key_of_a_rolled_back_job_is_free() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        unique.delay(1)
        raise RuntimeError
    unique.delay(1)
    assert Job.objects.count() == 1


def test_revoked_job_gives_the_key_back() -> None:
    first = unique.delay(1)
    revoke([first.id])
    assert unique.delay(1) != first


def test_operator_s_retry_does_not_make_a_second_live_copy(work: Work) -> None:
    first = unique.delay(1)
    work()
    second = unique.delay(1)
    assert retry([first.id]) == (0, {"another live job holds its unique key": 1})
    revoke([second.id])
    assert retry([first.id]) == (1, {})
    assert unique.delay(1) == first


@pytest.mark.django_db(transaction=True)
def test_two_threads_at_once_make_one_job() -> None:
    barrier = threading.Barrier(4)
    seen: list[Any] = []

    def enqueue() -> None:
        barrier.wait(LONG)
        try:
            seen.append(unique.delay(1).id)
        except BaseException as error:
            seen.append(error)
        finally:
            connections.close_all()

    for round_number in range(5):
        Job.objects.update(status="SUCCESS")
        seen.clear()
        threads = [threading.Thread(target=enqueue) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert len(set(seen)) == 1, seen
        assert Job.objects.live().count() == 1, round_number


@pytest.mark.django_db(transaction=True)
def test_second_copy_waits_for_the_first_one_s_transaction() -> None:
    written, go_on = threading.Event(), threading.Event()
    seen: list[Any] = []

    def first() -> None:
        try:
            with pytest.raises(RuntimeError), transaction.atomic():
                unique.delay(1)
                written.set()
                go_on.wait(LONG)
                raise RuntimeError
        finally:
            connections.close_all()

    def second() -> None:
        try:
            written.wait(LONG)
            seen.append(unique.delay(1))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    assert written.wait(LONG)
    threads[1].join(0.2)
    assert seen == []
    go_on.set()
    for thread in threads:
        thread.join(LONG)
    assert Job.objects.get().id == seen[0].id


def test_named_by_its_caller_and_rejected_returns_the_live_one() -> None:
    live = unique.delay(1)
    assert unique.apply_async((1,), task_id=str(uuid7())).id == live.id


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    not connection.features.has_select_for_update_nowait, reason="one transaction at a time writes"
)
def test_key_is_not_deleted_while_a_call_reads_its_holder() -> None:
    first = unique.delay(1)
    refused: list[BaseException] = []

    def delete() -> None:
        try:
            with transaction.atomic():
                list(UniqueKey.objects.select_for_update(nowait=True))
                UniqueKey.objects.all().delete()
        except OperationalError as error:
            refused.append(error)
        finally:
            connections.close_all()

    def delete_after_insert(execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if sql.startswith(f"INSERT INTO {UNIQUE_KEYS}"):
            thread = threading.Thread(target=delete)
            thread.start()
            thread.join(LONG)
        return result

    with connection.execute_wrapper(delete_after_insert):
        assert unique.delay(1) == first
    assert len(refused) == 1


def test_kept_success_is_not_pruned_before_its_key_is_free(work: Work) -> None:
    @job(unique_for=7 * 86_400, result_expires=60)
    def body() -> None: ...

    first = body.delay()
    work()
    Job.objects.update(prune_at=F("prune_at") - datetime.timedelta(days=6))
    prune.run_once("default", uuid.uuid4())
    assert body.delay() == first


# --- keys that nobody holds ---------------------------------------------------------------------


def end_all_and_prune() -> int:
    Job.objects.update(status="SUCCESS", prune_at=clock("default", -1))
    return prune.run_once("default", uuid.uuid4())


def test_key_goes_with_its_job() -> None:
    unique.delay_many([(1,), (2,)])
    assert end_all_and_prune() == 2
    assert not UniqueKey.objects.exists()


def test_key_that_went_to_another_job_stays() -> None:
    first = unique.delay(1)
    Job.objects.update(status="SUCCESS", prune_at=clock("default", -1))
    second = unique.delay(1)
    assert second != first
    assert prune.run_once("default", uuid.uuid4()) == 1
    assert unique.delay(1) == second


def test_key_of_a_deleted_job_goes() -> None:
    lost = unique.delay(1)
    kept = unique.delay(2)
    Job.objects.filter(id=lost.id).delete()
    prune.run_once("default", uuid.uuid4())
    assert UniqueKey.objects.get().job_id == kept.id


def test_keys_of_deleted_jobs_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_unique_keys, "BATCH", 2)
    monkeypatch.setattr(prune_unique_keys, "_last", {})
    unique.delay_many([(number,) for number in range(5)])
    kept = Job.objects.order_by("id")[0]
    Job.objects.exclude(id=kept.pk).delete()
    left = []
    for _ in range(3):
        prune_unique_keys.run_once("default")
        left.append(UniqueKey.objects.count())
    assert left[0] > 2
    assert left[-1] == 1
    assert unique.delay(0).id == kept.pk


# --- replace ------------------------------------------------------------------------------------


@job(unique="replace", unique_key=["page"], name="tests.replaced")
def replaced(page: int, text: str = "") -> str:
    return text


@pytest.fixture
def replaced_here(registered: dict[str, Any]) -> None:
    registered[replaced.name] = replaced


@pytest.mark.usefixtures("replaced_here")
@pytest.mark.parametrize("status", ["WAITING", "SCHEDULED", "PENDING", "RETRY"])
def test_replace_gives_the_new_arguments_to_one_that_has_not_begun(status: str, work: Work) -> None:
    first = replaced.apply_async((1, "old"), headers={"a": 1}, ignore_result=True)
    Job.objects.update(status=status, waiting_for="job:x", retries=2, error_class="E")
    second = replaced.apply_async(
        (1, "new"), queue="default", priority=7, headers={"b": 2}, expires=60
    )
    assert second == first
    row = Job.objects.get()
    assert (row.status, row.args, row.priority, row.headers) == ("PENDING", [1, "new"], 7, {"b": 2})
    assert (row.options, row.waiting_for, row.retries, row.error_class) == (None, None, 0, "")
    assert row.run_at is None
    assert row.expires_at is not None
    assert row.ready_at is not None
    work()
    assert first.get(timeout=0) == "new"


@pytest.mark.usefixtures("replaced_here")
def test_replace_postpones_with_each_call() -> None:
    first = replaced.apply_async((1, "a"), countdown=60)
    before = first.job.run_at
    assert before is not None
    assert replaced.apply_async((1, "b"), countdown=600) == first
    row = Job.objects.get()
    assert row.status == "SCHEDULED"
    assert row.run_at is not None
    assert row.run_at - before > datetime.timedelta(seconds=500)
    moment = timezone.now() + datetime.timedelta(days=2)
    replaced.apply_async((1, "c"), eta=moment)
    assert Job.objects.get().run_at == moment


def test_replace_moves_the_end_of_the_key_on(registered: dict[str, Any]) -> None:
    @job(unique="replace", unique_for=100, unique_key=["key"])
    def body(key: str, value: int = 0) -> None: ...

    body.delay("k", 1)
    UniqueKey.objects.update(until=clock("default", 5))
    body.delay("k", 2)
    assert UniqueKey.objects.filter(until__gt=clock("default", 50)).exists()


@pytest.mark.usefixtures("replaced_here")
def test_replace_enqueues_beside_one_that_runs(take: Any) -> None:
    first = replaced.delay(1, "old")
    take()
    second = replaced.delay(1, "new")
    assert second != first
    assert replaced.delay(1, "newer") == second
    assert [row.args[1] for row in Job.objects.order_by("id")] == ["old", "newer"]


@pytest.mark.usefixtures("replaced_here")
@pytest.mark.parametrize(
    "fields", [{"has_dependents": True}, {"pending_parents": 1, "status": "WAITING"}]
)
def test_replace_changes_no_job_of_a_workflow(fields: dict[str, Any]) -> None:
    first = replaced.delay(1, "old")
    Job.objects.update(**fields)
    assert replaced.delay(1, "new") != first
    assert Job.objects.get(id=first.id).args == [1, "old"]


@pytest.mark.usefixtures("replaced_here")
def test_replace_in_one_call_takes_the_last() -> None:
    results = replaced.delay_many([(1, "a"), (2, "b"), (1, "c")])
    assert results[0] == results[2]
    assert [row.args for row in Job.objects.order_by("id")] == [[1, "c"], [2, "b"]]
    assert Job.objects.get(id=results[0].id).args == [1, "c"]


def test_replace_within_unique_for_keeps_the_success(work: Work) -> None:
    @job(unique="replace", unique_for=60)
    def body() -> None: ...

    first = body.delay()
    work()
    assert body.delay() == first
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("replaced_here")
@pytest.mark.parametrize("function", [unique, replaced])
def test_racing_calls_and_workers_leave_one_that_waits(
    function: Any, new_worker: Callable[..., Any]
) -> None:
    from django_jobs.run.claim import claim
    from django_jobs.run.execute import Environment, execute
    from django_jobs.run.record import record

    barrier = threading.Barrier(6)
    errors: list[BaseException] = []
    most: list[int] = []

    def enqueue(order: int) -> None:
        for number in range(4):
            keys = [(n, str(number)) for n in range(4)][::order]
            function.delay_many(keys if function is replaced else [(n,) for n, _text in keys])
            queued = Job.objects.filter(status="PENDING")
            most.append(max(queued.filter(args__startswith=f"[{n}").count() for n in range(4)))

    def work(worker_id: Any) -> None:
        for _ in range(6):
            claimed, _contended = claim(worker_id, ["default"], 3, "default")
            if claimed:
                record(worker_id, [execute(one, Environment()) for one in claimed], "default")

    def guarded(target: Callable[..., None], argument: Any) -> None:
        try:
            barrier.wait(LONG)
            target(argument)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guarded, args=(enqueue, order)) for order in (1, -1, 1, -1)]
    threads += [threading.Thread(target=guarded, args=(work, new_worker().pk)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    assert max(most) == 1
