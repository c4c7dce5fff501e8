"""Concurrency limits: permits, who waits for them, and who frees them."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from django_jobs import chain, job
from django_jobs.control import pause_queue, resume_queue, revoke
from django_jobs.control.retrying import retry
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import prune, rescue, unblock
from django_jobs.models import Job, Limit, LimitLock, Permit, Queue, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.run.release import release
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Admit = Callable[..., list[Claimed]]


@job(concurrency=2, name="tests.two")
def two(number: int = 0) -> int:
    return number


@job(concurrency=1, concurrency_key=["user"], queue="mail", name="tests.one_a_user")
def one_a_user(user: int, number: int = 0) -> int:
    return number


@job(concurrency=1, concurrency_key=lambda user, number=0: 1 // user, name="tests.computed")
def computed(user: int, number: int = 0) -> int:
    return number


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered.update({function.name: function for function in (two, one_a_user, computed)})


@pytest.fixture
def admit(worker: Worker, take: Callable[..., list[Claimed]]) -> Admit:
    """Claim and admit for the worker; return what may start."""

    def admit(queues: tuple[str, ...] = ("default", "mail"), by: Worker = worker) -> list[Claimed]:
        admitted, failed = Admission("default").admit(by.pk, take(queues=queues, by=by))
        assert not failed
        return admitted

    return admit


def end(worker: Worker, claimed: list[Claimed]) -> None:
    record(worker.pk, [execute(one, Environment()) for one in claimed], "default")


def statuses() -> dict[str, int]:
    return dict(Counter(Job.objects.values_list("status", flat=True)))


def args_of(claimed: list[Claimed]) -> list[str]:
    return [one.args for one in claimed]


# --- taking and freeing -------------------------------------------------------------------------


def test_no_more_than_the_limit_start_and_the_others_wait(admit: Admit) -> None:
    two.delay_many([(n,) for n in range(5)])
    assert args_of(admit()) == ["[0]", "[1]"]
    assert statuses() == {"STARTED": 2, "WAITING": 3}
    for row in Job.objects.filter(status="WAITING"):
        assert (row.waiting_for, row.worker_id, row.started_at) == ("job:tests.two", None, None)


def test_an_end_wakes_the_next_in_line(worker: Worker, admit: Admit) -> None:
    two.apply_async((9,), priority=-5)
    two.delay_many([(n,) for n in range(4)])
    first = admit()
    assert args_of(first) == ["[0]", "[1]"]
    end(worker, first[:1])
    (woken,) = Job.objects.filter(status="PENDING")
    assert woken.args == [2]
    assert woken.ready_at is not None
    second = admit()
    end(worker, [*first[1:], *second])
    assert args_of(admit()) == ["[3]", "[9]"]


def test_permits_are_counted_over_all_workers(
    worker: Worker, new_worker: Callable[..., Worker], admit: Admit
) -> None:
    two.delay(0)
    assert len(admit()) == 1
    two.delay_many([(1,), (2,)])
    assert args_of(admit(by=new_worker())) == ["[1]"]


def test_each_value_of_the_key_has_its_own_permits(worker: Worker, admit: Admit) -> None:
    one_a_user.delay_many([(1, 1), (1, 2), (2, 3), {"user": 2, "number": 4}])
    first = admit()
    assert args_of(first) == ["[1,1]", "[2,3]"]
    assert statuses() == {"STARTED": 2, "WAITING": 2}
    end(worker, first)
    assert [one.args + one.kwargs for one in admit()] == ["[1,2]{}", '[]{"user":2,"number":4}']


def test_key_shows_no_argument() -> None:
    from django_jobs.define.key_values import of_value

    assert "4111" not in of_value("shop.pay", "4111-1111")
    assert len(of_value("n" * 255, "x")) <= 200


def test_long_names_have_keys_of_their_own() -> None:
    from django_jobs.define.key_values import of_function

    assert of_function("n" * 255) != of_function("n" * 254)


@pytest.mark.parametrize("status", ["RETRY", "SCHEDULED", "FAILURE", "REVOKED", "PENDING"])
def test_every_way_out_frees_the_permit(worker: Worker, admit: Admit, status: str) -> None:
    two.delay_many([(n,) for n in range(3)])
    first, _second = admit()
    outcome = execute(first, Environment())
    outcome.status, outcome.delay = status, 60.0
    record(worker.pk, [outcome], "default")
    assert Permit.objects.count() == 1
    assert not Job.objects.filter(status="WAITING").exists()


def test_released_job_frees_its_permit(worker: Worker, admit: Admit) -> None:
    two.delay_many([(n,) for n in range(3)])
    claimed = admit()
    release(worker.pk, claimed, "default")
    assert statuses() == {"PENDING": 3}
    assert not Permit.objects.exists()
    assert args_of(admit()) == ["[0]", "[1]"]


def test_revoked_job_frees_its_permit(admit: Admit) -> None:
    two.delay_many([(n,) for n in range(3)])
    first, _second = admit()
    assert revoke([first.id], terminate=True) == 1
    assert statuses() == {"STARTED": 1, "REVOKED": 1, "PENDING": 1}


def test_woken_job_that_is_revoked_passes_its_permit_on(worker: Worker, admit: Admit) -> None:
    two.delay_many([(n,) for n in range(4)])
    first = admit()
    end(worker, first[:1])
    (woken,) = Job.objects.filter(status="PENDING")
    assert revoke([woken.pk]) == 1
    assert [job.args for job in Job.objects.filter(status="PENDING")] == [[3]]
    assert args_of(admit()) == ["[3]"]


def test_woken_job_that_waits_for_its_parent_again_passes_its_permit_on(
    worker: Worker, admit: Admit
) -> None:
    chain(two.si(0), one_a_user.si(7, 1)).apply_async()
    one_a_user.delay(7, 0)
    parent, holder = admit()
    end(worker, [parent])
    one_a_user.delay(7, 2)
    assert admit() == []
    end(worker, [holder])
    assert [job.args for job in Job.objects.filter(status="PENDING")] == [[7, 1]]
    assert retry([parent.id]) == (1, {})
    assert sorted(args_of(admit())) == ["[0]", "[7,2]"]


def test_revoked_job_leaves_the_line(admit: Admit) -> None:
    two.delay_many([(n,) for n in range(3)])
    admit()
    (waiting,) = Job.objects.filter(status="WAITING").values_list("id", flat=True)
    assert revoke([waiting]) == 1
    assert Job.objects.get(id=waiting).waiting_for is None


@pytest.mark.parametrize("worker_knows", [True, False])
def test_permits_of_a_dead_worker_come_back_with_the_rescue(
    worker: Worker, admit: Admit, worker_knows: bool
) -> None:
    two.delay_many([(n,) for n in range(4)])
    claimed = admit()
    if worker_knows:
        running = {(claimed[0].id, claimed[0].claims): None}
        rescue.clean_up_after(worker.pk, running, "default")
    else:
        Worker.objects.update(lease_until="2000-01-01T00:00Z")
        assert rescue.run_once("default") == 2
    assert not Permit.objects.exists()
    assert statuses() == {"PENDING": 4}


def test_outcome_that_is_dropped_frees_no_permit_of_another_attempt(
    worker: Worker, new_worker: Callable[..., Worker], admit: Admit
) -> None:
    two.delay(0)
    (lost,) = admit()
    Worker.objects.update(lease_until="2000-01-01T00:00Z")
    rescue.run_once("default")
    admit(by=new_worker())
    end(worker, [lost])
    assert Permit.objects.count() == 1


def test_expired_job_takes_no_permit(worker: Worker, admit: Admit) -> None:
    two.apply_async((0,), expires=-1)
    two.delay_many([(1,), (2,)])
    claimed = admit()
    assert [one.permits for one in claimed] == [(), ("job:tests.two",), ("job:tests.two",)]
    end(worker, claimed)
    assert statuses() == {"REVOKED": 1, "SUCCESS": 2}


def test_woken_job_that_expired_leaves_the_permit_to_the_next(worker: Worker, admit: Admit) -> None:
    two.delay_many([(n,) for n in range(4)])
    first = admit()
    Job.objects.filter(args=[2]).update(expires_at="2000-01-01T00:00Z")
    end(worker, first[:1])
    (expired,) = admit()
    assert expired.expired
    assert args_of(admit()) == ["[3]"]


def test_atomic_job_frees_its_permit_with_its_success(worker: Worker, admit: Admit) -> None:
    @job(atomic=True, concurrency=1)
    def body() -> None: ...

    body.delay_many([(), ()])
    (first,) = admit()
    commit = Environment(commit=lambda outcomes: bool(record(worker.pk, outcomes, "default")))
    assert execute(first, commit).recorded
    assert statuses() == {"SUCCESS": 1, "PENDING": 1}


def test_key_function_that_fails_fails_the_job(work: Callable[..., list[Outcome]]) -> None:
    result = computed.delay(0)
    (outcome,) = work()
    assert outcome.status == "FAILURE"
    assert "ZeroDivisionError" in repr(result.result)


def test_key_is_computed_from_what_the_job_gets(admit: Admit) -> None:
    @job(concurrency=1, concurrency_key=lambda when: when[:4])
    def body(when: Any) -> None: ...

    import datetime

    for day in (1, 2):
        body.delay(datetime.date(2040, 1, day))
    assert len(admit()) == 1


def test_key_is_computed_from_what_a_workflow_hands_over(
    worker: Worker, admit: Admit, work: Callable[..., list[Outcome]]
) -> None:
    results = [(jobs.add.s(1) | one_a_user.s(number)).apply_async() for number in (5, 6)]
    work()
    (first,) = admit(("mail",))
    assert first.args == "[1,5]"
    assert statuses() == {"SUCCESS": 2, "STARTED": 1, "WAITING": 1}
    end(worker, [first])
    work(queues=("mail",))
    assert [result.get(timeout=0) for result in results] == [5, 6]


# --- queues -------------------------------------------------------------------------------------


@pytest.fixture
def narrow_queue(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"CONCURRENCY": 2}}}


@pytest.mark.usefixtures("narrow_queue")
def test_queue_has_permits(worker: Worker, admit: Admit) -> None:
    jobs.send.delay_many([(n,) for n in range(4)])
    first = admit()
    assert len(first) == 2
    assert set(Job.objects.filter(status="WAITING").values_list("waiting_for", flat=True)) == {
        "queue:mail"
    }
    end(worker, first)
    assert len(admit()) == 2


@pytest.mark.usefixtures("narrow_queue")
def test_row_of_the_queue_wins_over_the_setting(admit: Admit) -> None:
    Queue.objects.create(name="mail", concurrency=3)
    jobs.send.delay_many([(n,) for n in range(4)])
    assert len(admit()) == 3


@pytest.mark.usefixtures("narrow_queue")
def test_job_takes_both_permits_or_none(worker: Worker, admit: Admit) -> None:
    one_a_user.delay_many([(1, 0), (1, 1), (2, 2), (3, 3)])
    first = admit()
    assert args_of(first) == ["[1,0]", "[2,2]"]
    waits = dict(Job.objects.filter(status="WAITING").values_list("waiting_for", "args"))
    assert len(waits) == 2
    assert waits["queue:mail"] == [3, 3]
    assert Permit.objects.count() == 4
    end(worker, first)
    # The permit of the queue that both freed, and the one of user 1.
    assert sorted(args_of(admit())) == ["[1,1]", "[3,3]"]


@pytest.mark.usefixtures("narrow_queue")
def test_woken_job_that_must_wait_elsewhere_leaves_the_permit_to_the_next(
    worker: Worker, admit: Admit
) -> None:
    jobs.send.delay(0)
    one_a_user.delay(1, 1)
    first = admit()
    assert len(first) == 2
    one_a_user.delay(1, 2)
    one_a_user.delay(5, 3)
    assert admit() == []
    # Both wait for their first full limit; the queue's next in line is woken.
    end(worker, [one for one in first if one.name == "tests.jobs.send"])
    assert args_of(admit()) == ["[5,3]"]
    end(worker, [one for one in first if one.name == "tests.one_a_user"])
    assert args_of(admit()) == ["[1,2]"]


@pytest.mark.usefixtures("narrow_queue")
def test_woken_job_whose_own_limit_is_taken_meanwhile_wakes_the_next(
    worker: Worker, admit: Admit
) -> None:
    jobs.send.delay(0)
    one_a_user.delay(1, 1)
    first = admit()
    assert len(first) == 2
    one_a_user.delay(5, 2)
    jobs.send.apply_async((3,), priority=-9)
    assert admit() == []  # both wait for the queue
    one_a_user.apply_async((5, 4), queue="default")
    assert args_of(admit()) == ["[5,4]"]
    end(worker, [one for one in first if one.name == "tests.jobs.send"])
    # The first in line is woken, and waits for its user now; the permit is the next one's.
    assert admit() == []
    assert args_of(admit()) == ["[3]"]


# --- at run time --------------------------------------------------------------------------------


def test_limit_of_an_operator_wins(admit: Admit) -> None:
    Limit.objects.create(key="job:tests.two", concurrency=3)
    two.delay_many([(n,) for n in range(4)])
    assert len(admit()) == 3


def test_function_without_limit_gets_one(admit: Admit) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(1,), (2,)])
    assert len(admit()) == 1


def test_raised_limit_wakes_those_who_wait(worker: Worker, admit: Admit) -> None:
    two.delay_many([(n,) for n in range(5)])
    admit()
    Limit.objects.create(key="job:tests.two", concurrency=4)
    unblock.run_once("default")
    assert len(admit()) == 2
    assert statuses() == {"STARTED": 4, "WAITING": 1}


def test_limit_that_is_gone_lets_all_go(admit: Admit) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(n,) for n in range(4)])
    admit()
    Limit.objects.all().delete()
    unblock.run_once("default")
    assert len(admit()) == 3


# --- paused queues ------------------------------------------------------------------------------


@pytest.fixture
def in_two_queues(admit: Admit) -> list[Claimed]:
    """Both permits are taken, and of two jobs that wait the older one is in the queue "mail"."""
    two.delay_many([(0,), (1,)])
    running = admit()
    two.apply_async((2,), queue="mail")
    admit()
    two.delay(3)
    assert admit() == []
    assert statuses() == {"STARTED": 2, "WAITING": 2}
    return running


def test_permit_goes_past_who_waits_in_a_paused_queue(
    worker: Worker, admit: Admit, in_two_queues: list[Claimed]
) -> None:
    pause_queue("mail")
    end(worker, in_two_queues[:1])
    assert args_of(admit()) == ["[3]"]
    end(worker, in_two_queues[1:])
    unblock.run_once("default")
    assert admit() == []
    resume_queue("mail")
    unblock.run_once("default")
    assert args_of(admit()) == ["[2]"]


def test_guard_gives_the_permit_on_that_a_job_of_a_paused_queue_was_woken_for(
    worker: Worker, admit: Admit, in_two_queues: list[Claimed]
) -> None:
    end(worker, in_two_queues[:1])
    pause_queue("mail")
    assert admit() == []
    unblock.run_once("default")
    assert args_of(admit()) == ["[3]"]
    resume_queue("mail")
    assert admit() == []
    end(worker, in_two_queues[1:])
    assert args_of(admit()) == ["[2]"]


# --- the guard ----------------------------------------------------------------------------------


def test_guard_wakes_after_a_row_was_deleted(admit: Admit) -> None:
    two.delay_many([(n,) for n in range(4)])
    first, _second = admit()
    Job.objects.filter(id=first.id).delete()
    unblock.run_once("default")
    assert args_of(admit()) == ["[2]"]
    unblock.run_once("default")
    assert admit() == []


def test_guard_wakes_no_more_than_there_are_permits(admit: Admit) -> None:
    two.delay_many([(n,) for n in range(5)])
    first, _second = admit()
    Job.objects.filter(id=first.id).delete()
    for _ in range(3):
        unblock.run_once("default")
    assert statuses() == {"STARTED": 1, "PENDING": 1, "WAITING": 2}


def test_guard_leaves_workflows_alone() -> None:
    two.delay(0)
    Job.objects.update(status="WAITING", pending_parents=1)
    unblock.run_once("default")
    assert statuses() == {"WAITING": 1}


def test_who_ran_while_there_was_no_limit_holds_nobody_up(worker: Worker, admit: Admit) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(n,) for n in range(3)])
    first = admit()
    Limit.objects.all().delete()
    unblock.run_once("default")
    end(worker, [*first, *admit()])
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(n,) for n in range(3, 5)])
    Job.objects.filter(id__in=[one.id for one in admit()]).delete()
    assert Job.objects.filter(waiting_for__isnull=False).count() == 3
    unblock.run_once("default")
    assert args_of(admit()) == ["[4]"]
    assert not Job.objects.filter(waiting_for__isnull=False).exists()


def test_guard_looks_at_all_keys_by_and_by(admit: Admit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unblock, "BATCH", 2)
    one_a_user.delay_many([(user, n) for user in range(5) for n in range(2)])
    admit()
    Job.objects.filter(status="STARTED").delete()
    for _ in range(3):
        unblock.run_once("default")
    assert statuses() == {"PENDING": 5}


def test_locks_that_nobody_uses_are_pruned(worker: Worker, admit: Admit) -> None:
    one_a_user.delay_many([(user, n) for user in range(3) for n in range(2)])
    claimed = admit()
    prune.run_once("default", uuid.uuid4())
    assert LimitLock.objects.count() == 3
    end(worker, claimed)
    prune_again()
    assert LimitLock.objects.count() == 3
    end(worker, admit())
    prune_again()
    assert not LimitLock.objects.exists()


def prune_again() -> None:
    from django_jobs.models import Lease

    Lease.objects.all().delete()
    prune.run_once("default", uuid.uuid4())


# --- cost ---------------------------------------------------------------------------------------


def statements(run: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        run()
    return len(captured)


def test_unlimited_jobs_cost_no_statement(
    worker: Worker, take: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.limits.admission._RULES_SECONDS", LONG)
    admission = Admission("default")
    admission.admit(worker.pk, [])
    jobs.add.delay_many([(n,) for n in range(10)])
    claimed = take()
    admission.admit(worker.pk, claimed[:1])  # which reads the rules
    assert statements(lambda: admission.admit(worker.pk, claimed)) == 0
    outcomes = [execute(one, Environment()) for one in claimed]
    assert statements(lambda: record(worker.pk, outcomes, "default")) == 1


def test_release_costs_the_same_however_many_wait(worker: Worker, admit: Admit) -> None:
    counts = []
    for number in (3, 1_000):
        Job.objects.all().delete()
        Permit.objects.all().delete()
        two.delay_many([(n,) for n in range(number)])
        claimed = []
        while Job.objects.filter(status="PENDING").exists():
            claimed += admit()
        counts.append(statements(lambda: end(worker, claimed[:1])))  # noqa: B023
    assert counts[0] == counts[1]
    assert counts[0] <= 10


@pytest.mark.django_db(transaction=True)  # MariaDB commits when it analyzes
def test_next_in_line_is_read_from_the_index(worker: Worker, admit: Admit, vendor: str) -> None:
    two.delay_many([(n,) for n in range(2_000)])
    while Job.objects.filter(status="PENDING").exists():
        admit()
    table = "TABLE django_jobs_job" if vendor == "mysql" else "django_jobs_job"
    line = (
        "SELECT id FROM django_jobs_job WHERE waiting_for = 'job:tests.two' AND status = 'WAITING' "
        "AND NOT queue IN (SELECT name FROM django_jobs_queue WHERE paused_at IS NOT NULL)"
    )
    order = " ORDER BY `rank`, id LIMIT 1" if vendor == "mysql" else " ORDER BY rank, id LIMIT 1"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if vendor == "sqlite" else f"ANALYZE {table}")
        explain = "EXPLAIN QUERY PLAN " if vendor == "sqlite" else "EXPLAIN "
        cursor.execute(explain + line + order)
        plan = str(cursor.fetchall())
    assert "django_jobs_waiting" in plan
    assert "filesort" not in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


# --- races --------------------------------------------------------------------------------------

WORKERS = 8


@pytest.fixture
def racing() -> Iterator[None]:
    yield
    two_running.clear()


two_running: list[int] = []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("racing", "narrow_queue")
def test_racing_workers_never_run_more_than_the_limit_and_leave_nobody_waiting(
    new_worker: Callable[..., Worker], registered: dict[str, Any]
) -> None:
    lock = threading.Lock()
    running: Counter[Any] = Counter()
    most: Counter[Any] = Counter()

    @job(concurrency=2, concurrency_key=["user"], queue="mail")
    def body(user: int) -> None:
        with lock:
            for key in (user, "queue"):
                running[key] += 1
                most[key] = max(most[key], running[key])
        threading.Event().wait(0.001)
        with lock:
            for key in (user, "queue"):
                running[key] -= 1

    Queue.objects.create(name="mail", concurrency=3)
    body.delay_many([(n % 3,) for n in range(60)])
    errors: list[BaseException] = []

    def work(worker: Worker) -> None:
        from django_jobs.db import own_connection

        own_connection("default")
        admission = Admission("default")
        try:
            while not errors and Job.objects.exclude(status="SUCCESS").exists():
                claimed, _ = claim(worker.pk, ["mail"], 5, "default")
                admitted, _failed = admission.admit(worker.pk, claimed)
                for one in admitted:
                    record(worker.pk, [execute(one, Environment())], "default")
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(new_worker(3600),)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    assert statuses() == {"SUCCESS": 60}
    assert most["queue"] <= 3
    assert max(most[user] for user in range(3)) <= 2
    assert not Permit.objects.exists()
