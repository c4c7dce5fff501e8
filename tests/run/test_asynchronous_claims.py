"""Of all that a worker's own connection commits, only claims commit asynchronously (PostgreSQL)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections

from django_jobs import job
from django_jobs.beat.fire import fire_due
from django_jobs.db import direct, own_connection
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.worker.loop import WorkerLoop
from tests import jobs
from tests.beat.conftest import make as make  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

# The trigger runs at the commit, and reads how this commit waits for the disk.
TRIGGER = """
CREATE TABLE seen (number serial, what text, mode text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO seen (what, mode) VALUES (
        TG_OP || ' ' || TG_TABLE_NAME || ' ' || COALESCE(to_jsonb(NEW) ->> 'status', ''),
        current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
"""
ON = """
CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
"""
CLAIM = "UPDATE django_jobs_job STARTED"


@pytest.fixture(autouse=True)
def seen(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], set[tuple[str, str]]]]:
    """Return what was committed so far, and how; this thread has a worker's connection."""
    if vendor != "postgresql":
        pytest.skip("the other databases have no asynchronous commit of one transaction")
    tables = [name for name in connection.introspection.table_names() if "django_jobs" in name]
    with connection.cursor() as cursor:
        cursor.execute(TRIGGER + "".join(ON.format(table=table) for table in tables))
    # Calls in a loop: one that stands alone flushes its INSERT afterwards.
    monkeypatch.setattr(direct, "_ALONE", math.inf)
    kept = connections["default"]
    own = own_connection("default")

    def seen() -> set[tuple[str, str]]:
        with kept.cursor() as cursor:
            cursor.execute("DELETE FROM seen RETURNING what, mode")
            return set(cursor.fetchall())

    yield seen
    own.close()
    connections["default"] = kept
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION note CASCADE; DROP TABLE seen")


def turn(loop: WorkerLoop) -> None:
    loop.timer.look()
    loop.queues.read_again()
    loop.step()


def run_waiting(loop: WorkerLoop) -> None:
    while claimed := loop.buffer.take(0, wait=False):
        loop.buffer.end(0, execute(claimed, Environment(report=loop.progress.show)))


@pytest.mark.parametrize("queues", [1, 2])
def test_only_claims_commit_asynchronously(
    new_loop: Callable[..., WorkerLoop], seen: Any, queues: int, registered: dict[str, Any]
) -> None:
    @job(bind=True)
    def shows(self: Any) -> None:
        self.progress(1, 2)

    @job(concurrency=1)
    def limited() -> None: ...

    loop = new_loop(pool="threads", slots=8)
    shows.delay()
    for number in range(queues):
        jobs.add.apply_async((1,), queue=f"q{number}")
    jobs.fail.delay()
    (jobs.add.s(1) | jobs.add.s(2)).delay()
    limited.delay_many([(), ()])
    turn(loop)
    run_waiting(loop)
    turn(loop)
    run_waiting(loop)
    turn(loop)
    loop.buffer.run_seconds = 0.001
    jobs.add.delay_many([(1,), (2,)])
    turn(loop)
    loop.state.stopping = True
    loop.step()  # releases them
    found = seen()
    assert {what for what, mode in found if mode == "off"} == {CLAIM}
    rest = {what for what, mode in found if mode == "on"}
    assert {
        "INSERT django_jobs_job PENDING", "INSERT django_jobs_job WAITING",
        "UPDATE django_jobs_job SUCCESS", "UPDATE django_jobs_job FAILURE",
        "UPDATE django_jobs_job PENDING", "UPDATE django_jobs_job WAITING",
        "INSERT django_jobs_attempt FAILURE", "INSERT django_jobs_permit ",
        "DELETE django_jobs_permit ",
    } <= rest  # fmt: skip
    assert {each.rpartition(" ")[0] for each in rest} >= {"INSERT django_jobs_edge"}


def test_tick_commits_synchronously(make: Any, seen: Any) -> None:
    make(due=1)
    assert fire_due("default") == 1
    assert {mode for _what, mode in seen()} == {"on"}


def test_jobs_that_must_not_run_twice_are_on_disk_before_they_begin(
    worker: Worker, seen: Any, registered: dict[str, Any]
) -> None:
    @job(acks_late=False)
    def once() -> None: ...

    def log_position(which: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_current_wal_{which}_lsn()")
            return cursor.fetchone()[0]

    once.delay_many([(), ()])
    seen()
    claim(worker.pk, ["default"], 1, "default")
    assert (CLAIM, "off") in seen()  # and confirmed: see test_crash_of_the_database.py
    # The next claim expects such jobs.
    claim(worker.pk, ["default"], 1, "default")
    assert (CLAIM, "on") in seen()
    jobs.add.delay_many([(1,), (2,)])
    seen()
    for expected in ("on", "off"):
        claim(worker.pk, ["default"], 1, "default")
        assert (CLAIM, expected) in seen()


def test_claim_on_another_connection_commits_as_the_connection_does(
    worker: Worker, seen: Any
) -> None:
    jobs.add.delay(1)
    seen()
    own = connections["default"]
    connections["default"] = connection
    try:
        connections["default"] = other = connections.create_connection("default")
        claim(worker.pk, ["default"], 1, "default")
        other.close()
    finally:
        connections["default"] = own
    assert (CLAIM, "on") in seen()
    assert Job.objects.get().status == "STARTED"
