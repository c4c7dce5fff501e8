"""What jobs write in run_jobs() stays or is undone as in a worker, also inside a TestCase."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction

from django_jobs import job
from django_jobs.exceptions import TransactionLeftOpen
from django_jobs.models import Job
from django_jobs.testing import run_jobs

pytestmark = [pytest.mark.usefixtures("registered")]


@pytest.fixture(
    params=[
        pytest.param("inside", marks=pytest.mark.django_db),
        pytest.param("outside", marks=pytest.mark.django_db(transaction=True)),
    ]
)
def everywhere(request: pytest.FixtureRequest) -> bool:
    """Run the test in a transaction, as in a TestCase, and where commits are real."""
    inside: bool = connection.in_atomic_block
    assert inside == (request.param == "inside")
    return inside


def names() -> set[str]:
    return set(Group.objects.values_list("name", flat=True))


@pytest.mark.usefixtures("everywhere")
def test_what_a_failing_job_wrote_stays() -> None:
    @job
    def failing() -> None:
        Group.objects.create(name="first")
        raise ValueError("it failed")

    failing.delay()
    with pytest.raises(ValueError, match="it failed"):
        run_jobs()
    assert names() == {"first"}


@pytest.mark.usefixtures("everywhere")
def test_what_a_failing_atomic_job_wrote_is_undone() -> None:
    @job(atomic=True)
    def failing() -> None:
        Group.objects.create(name="first")
        raise ValueError("it failed")

    failing.delay()
    run_jobs(raise_errors=False)
    assert names() == set()
    assert Job.objects.get().status == "FAILURE"


@pytest.mark.usefixtures("everywhere")
def test_refused_statement_undoes_itself_only() -> None:
    @job
    def doubling() -> None:
        Group.objects.create(name="first")
        try:
            Group.objects.create(name="first")
        except IntegrityError:
            Group.objects.create(name="second")
        Group.objects.create(name="second")

    doubling.delay()
    with pytest.raises(IntegrityError):
        run_jobs()
    assert names() == {"first", "second"}
    Group.objects.create(name="third")


@pytest.mark.usefixtures("everywhere")
def test_block_of_atomic_is_undone_as_a_whole() -> None:
    @job
    def in_bulk() -> None:
        with pytest.raises(IntegrityError):
            Group.objects.bulk_create([Group(name="a"), Group(name="b"), Group(name="a")], 1)
        with pytest.raises(ValueError, match="it failed"), transaction.atomic():
            Group.objects.create(name="c")
            with transaction.atomic():
                Group.objects.create(name="d")
            raise ValueError("it failed")
        with transaction.atomic():
            Group.objects.create(name="e")
            with pytest.raises(IntegrityError), transaction.atomic():
                Group.objects.create(name="e")
            Group.objects.create(name="f")

    in_bulk.delay()
    run_jobs()
    assert names() == {"e", "f"}


@pytest.mark.usefixtures("everywhere")
def test_on_commit_hooks_of_a_job_run_when_it_commits() -> None:
    seen: list[str] = []

    @job
    def hooking() -> None:
        transaction.on_commit(lambda: seen.append("at once"))
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append("committed"))
            seen.append("body")
        with pytest.raises(ValueError, match="it failed"), transaction.atomic():
            transaction.on_commit(lambda: seen.append("rolled back"))
            raise ValueError("it failed")

    hooking.delay()
    run_jobs()
    assert seen == ["at once", "body", "committed"]


@pytest.mark.usefixtures("everywhere")
def test_on_commit_hook_enqueues_a_job_that_runs_too() -> None:
    @job(atomic=True)
    def hooking() -> None:
        transaction.on_commit(other.delay)

    @job
    def other() -> None: ...

    hooking.delay()
    assert [each.status for each in run_jobs()] == ["SUCCESS", "SUCCESS"]


@pytest.mark.usefixtures("everywhere")
def test_rows_cannot_be_locked_outside_of_atomic(vendor: str) -> None:
    if vendor == "sqlite":
        pytest.skip("SQLite locks no rows")

    @job
    def locking() -> None:
        list(Group.objects.select_for_update())

    locking.delay()
    with pytest.raises(transaction.TransactionManagementError, match="outside of a transaction"):
        run_jobs()


@pytest.mark.usefixtures("everywhere")
def test_durable_block_is_allowed() -> None:
    @job
    def durable() -> None:
        with transaction.atomic(durable=True):
            Group.objects.create(name="durable")

    durable.delay()
    run_jobs()
    assert names() == {"durable"}


@pytest.mark.usefixtures("everywhere")
def test_transaction_that_a_body_leaves_open_is_rolled_back() -> None:
    @job
    def leaving() -> None:
        Group.objects.create(name="before")
        transaction.set_autocommit(False)
        Group.objects.create(name="first")
        transaction.commit()
        Group.objects.create(name="second")

    leaving.delay()
    with pytest.raises(TransactionLeftOpen):
        run_jobs()
    assert names() == {"before", "first"}
    assert Job.objects.get().status == "FAILURE"


@pytest.mark.usefixtures("everywhere")
def test_block_of_atomic_that_a_failing_body_leaves_open_is_rolled_back() -> None:
    @job
    def leaving() -> None:
        transaction.atomic().__enter__()
        Group.objects.create(name="first")
        raise ValueError("it failed")

    leaving.delay()
    run_jobs(raise_errors=False)
    assert names() == set()
    assert Job.objects.get().status == "FAILURE"


@pytest.mark.django_db
def test_connection_that_a_body_closes_stays_for_the_test() -> None:
    Group.objects.create(name="before")

    @job
    def closing() -> None:
        connection.close()
        Group.objects.create(name="after")

    closing.delay()
    run_jobs()
    assert names() == {"before", "after"}


@pytest.mark.django_db
def test_transaction_of_the_test_is_as_it_was() -> None:
    seen: list[int] = []

    @job(atomic=True)
    def writing() -> None:
        Group.objects.create(name="written")

    with transaction.atomic():
        transaction.on_commit(lambda: seen.append(1))
        before = list(connection.run_on_commit)
        savepoints = list(connection.savepoint_ids)
        writing.delay()
        run_jobs()
        assert connection.in_atomic_block
        assert not connection.autocommit
        assert connection.savepoint_ids == savepoints
        assert connection.run_on_commit[: len(before)] == before
        assert seen == []
        transaction.set_rollback(True)
    assert names() == set()


@pytest.mark.django_db
def test_broken_transaction_of_the_test_is_told_at_once() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            run_jobs()


@pytest.mark.django_db
def test_hooks_of_the_test_and_of_the_jobs_are_apart(
    django_capture_on_commit_callbacks: Any,
) -> None:
    seen: list[str] = []

    @job
    def hooking() -> None:
        transaction.on_commit(lambda: seen.append("job"))

    with django_capture_on_commit_callbacks(execute=True):
        transaction.on_commit(lambda: seen.append("test"))
        transaction.on_commit(hooking.delay)
    assert seen == ["test"]
    run_jobs()
    assert seen == ["test", "job"]


@pytest.mark.django_db
def test_durable_call_of_a_body_is_written_in_the_transaction_of_the_test() -> None:
    @job
    def calling() -> None:
        other.apply_async(durable=True)

    @job
    def other() -> None: ...

    calling.delay()
    assert len(run_jobs()) == 2
