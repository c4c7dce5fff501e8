"""Queues that live on a database of their own."""

from __future__ import annotations

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction

from django_jobs import AsyncResult, chain, chord, control
from django_jobs.db import clock
from django_jobs.db.sqlite import SQLite
from django_jobs.enqueue.insert import write
from django_jobs.enqueue.rows import rows_of
from django_jobs.limits import overrides
from django_jobs.models import Job, Limit, Queue, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.workflows import completion
from tests import jobs
from tests.workflows import jobs as flows

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "reports"])

BOTH = ("default", "reports")
QUEUES = {"QUEUES": {"reports": {"DATABASE": "reports"}}}


@pytest.fixture(autouse=True)
def _queues(settings: Any) -> None:
    settings.DJANGO_JOBS = QUEUES


def work_on(using: str) -> None:
    """Do what a worker with ``--database`` does once."""
    now = clock(using)
    worker = Worker.objects.using(using).create(
        name="w", hostname="h", pid=1, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=clock(using, 60),
    )  # fmt: skip
    found, _contended = claim(worker.pk, ["default", "reports"], 10, using)
    record(worker.pk, [execute(job, Environment(using=using)) for job in found], using)


def test_job_goes_where_its_queue_lives_and_is_found_by_its_id_alone() -> None:
    there = jobs.add.apply_async((1, 2), queue="reports")
    here = jobs.add.delay(3, 4)
    assert Job.objects.using("reports").get().pk == there.id
    assert Job.objects.using("default").get().pk == here.id
    work_on("reports")
    assert AsyncResult(there.id).get(timeout=1) == 3
    assert AsyncResult(here.id).status == "PENDING"
    work_on("default")
    assert AsyncResult(here.id).get(timeout=1) == 7


def test_enqueue_joins_the_transaction_of_the_queues_own_database() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic("reports"):
        jobs.add.apply_async((1,), queue="reports")
        jobs.add.delay(1)
        raise ZeroDivisionError
    assert not Job.objects.using("reports").exists()
    assert Job.objects.using("default").count() == 1


def test_routes_that_split_one_call_over_databases_keep_its_order(settings: Any) -> None:
    def by_size(name: str, args: Any, kwargs: Any) -> dict[str, str]:
        return {"queue": "reports" if args[0] % 2 else "default"}

    settings.DJANGO_JOBS = {**QUEUES, "ROUTES": [by_size]}
    results = jobs.add.delay_many([(number,) for number in range(5)])
    assert [result.job.args for result in results] == [[number] for number in range(5)]
    assert Job.objects.using("reports").count() == 2


def test_revoke_and_forget_find_the_job() -> None:
    result = AsyncResult[int](jobs.add.apply_async((1,), queue="reports").id)
    assert result.revoke() is True
    result.forget()
    assert not Job.objects.using("reports").exists()


def test_worker_refuses_a_queue_that_lives_elsewhere() -> None:
    with pytest.raises(
        CommandError, match=r"'reports' lives on database 'reports'\. Add --database"
    ):
        call_command("runworker", queues="reports", burst=True)


def test_row_of_another_databases_queue_is_refused() -> None:
    rows = rows_of(jobs.add, [((1,), {})], {"queue": "reports"})
    with pytest.raises(ImproperlyConfigured, match="lives on database 'reports'"):
        write(rows, "default")


def test_unknown_database_of_a_queue_is_a_check(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "nowhere"}}}
    assert "django_jobs.E008" in [message.id for message in run_checks()]


@pytest.mark.parametrize("how", [flows.become, flows.widen])
def test_job_goes_on_only_where_it_lives(how: Any) -> None:
    elsewhere = flows.add.s(1, 2).set(queue="reports")
    args = (elsewhere,) if how is flows.become else (1, elsewhere)
    chord([how.s(*args)], flows.same.s()).apply_async()
    work_on("default")
    row = Job.objects.get(name=how.name)
    assert (row.status, row.error_class.rpartition(".")[2]) == ("FAILURE", "ImproperlyConfigured")
    assert "lives on the database 'default' and can go on only there" in row.error_message
    assert not Job.objects.using("reports").exists()
    chord([how.si(*args).set(queue="reports")], flows.same.s().set(queue="reports")).apply_async()
    work_on("reports")
    assert Job.objects.using("reports").filter(status="FAILURE").count() == 0


# --- errbacks on another database ---------------------------------------------------------------


def fail_with(*errbacks: Any) -> tuple[Worker, Any]:
    """Let a job on the default database fail; return its worker and its outcome."""
    flows.fail.s(1).apply_async(link_error=list(errbacks))
    return fail_again()


def fail_again() -> tuple[Worker, Any]:
    now = clock("default")
    worker = Worker.objects.create(
        name="w", hostname="h", pid=1, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=clock("default", 60),
    )  # fmt: skip
    (claimed,), _contended = claim(worker.pk, ["default"], 10, "default")
    return worker, execute(claimed, Environment(using="default"))


RECEIVED = flows.received.s().set(queue="reports")


@pytest.mark.parametrize(
    ("errback", "jobs_of_one"),
    [
        (RECEIVED, 1),
        (chain(RECEIVED, flows.same.s().set(queue="reports")), 2),
        (flows.only_one.si(1).set(queue="reports"), 1),
    ],
)
def test_errback_on_another_database_is_written_once_when_the_failure_is_repeated(
    errback: Any, jobs_of_one: int, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    worker, outcome = fail_with(errback)

    def break_off(*_: Any) -> None:
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(completion, "_count_down", break_off)
        with pytest.raises(OperationalError):
            record(worker.pk, [outcome], "default")
    assert Job.objects.using("default").get().status == "STARTED"
    for _ in range(2):
        assert record(worker.pk, [outcome], "default") == [outcome]
    assert Job.objects.using("default").get().status == "FAILURE"
    assert Job.objects.using("reports").count() == jobs_of_one
    assert "errback not enqueued" not in caplog.text
    for _ in range(jobs_of_one):
        work_on("reports")
    assert Job.objects.using("reports").filter(status="SUCCESS").count() == jobs_of_one
    # Another failure of the same job is told anew.
    assert control.retry([outcome.job.id]) == (1, {})
    worker, outcome = fail_again()
    record(worker.pk, [outcome], "default")
    assert Job.objects.using("reports").count() == 2 * jobs_of_one


def test_equal_errbacks_on_another_database_are_written_each() -> None:
    worker, outcome = fail_with(RECEIVED, RECEIVED)
    record(worker.pk, [outcome], "default")
    assert Job.objects.using("reports").count() == 2


# --- operators' verbs without using= ------------------------------------------------------------


def test_verbs_that_name_a_queue_act_where_it_lives() -> None:
    assert control.pause_queue("reports", by="ann")
    assert Queue.objects.using("reports").exclude(paused_at=None).get().paused_by == "ann"
    assert control.resume_queue("reports")
    overrides.set_queue_limits("reports", concurrency=2)
    assert Queue.objects.using("reports").get().concurrency == 2
    jobs.add.apply_async((1,), queue="reports")
    assert control.clear_queue("reports") == 1
    assert not Job.objects.using("reports").exists()
    assert not Queue.objects.using("default").exists()


def test_limits_of_a_function_hold_on_each_database() -> None:
    overrides.set_limits("tests.jobs.add", concurrency=3)
    for using in ("default", "reports"):
        assert Limit.objects.using(using).get().concurrency == 3
    overrides.set_limits("tests.jobs.add", concurrency=None, using="reports")
    assert not Limit.objects.using("reports").exists()
    assert Limit.objects.using("default").exists()


def test_verbs_that_name_jobs_act_where_each_of_them_lives() -> None:
    ids = [jobs.add.apply_async((1,), queue=queue, countdown=60).id for queue in BOTH]

    def statuses() -> list[str]:
        return [Job.objects.using(using).get().status for using in BOTH]

    assert control.run_now(ids) == 2
    assert statuses() == ["PENDING", "PENDING"]
    assert control.revoke([*ids, str(uuid.uuid4())]) == 2
    assert statuses() == ["REVOKED", "REVOKED"]
    assert control.retry([*ids, str(uuid.uuid4())]) == (2, {"gone": 1})
    assert statuses() == ["PENDING", "PENDING"]
    assert control.revoke_workflow(ids) == 2


def test_commands_that_name_a_queue_act_where_it_lives() -> None:
    jobs.add.apply_async((1,), queue="reports")
    call_command("jobs", "pause", "reports", stdout=StringIO())
    call_command("jobs", "limit", "reports", "--concurrency", "2", stdout=StringIO())
    assert Queue.objects.using("reports").exclude(paused_at=None).get().concurrency == 2
    call_command("jobs", "resume", "reports", stdout=StringIO())
    assert Queue.objects.using("reports").get().paused_at is None
    call_command("jobs", "purge", "--queue", "reports", "--noinput", stdout=StringIO())
    assert not Job.objects.using("reports").exists()


@pytest.mark.once
def test_transactions_of_sqlite_begin_with_the_write_lock() -> None:
    settings: dict[str, Any] = {"OPTIONS": {"transaction_mode": "DEFERRED"}}
    SQLite.tune(settings)
    assert settings["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
