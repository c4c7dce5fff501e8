"""Forced races of ends, retries and limits: one waits for the other, and both come out right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_jobs import chain, chord, control, group, job
from django_jobs.admin import job_actions
from django_jobs.db import clock, conflicts
from django_jobs.enqueue import unique as uniqueness
from django_jobs.limits import concurrency, rate_windows
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import prune_limits
from django_jobs.models import Job, LimitLock, Permit, Reservation, Step, Worker
from django_jobs.run import record as recording
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.values import Claimed, Outcome
from django_jobs.workflows import reopen
from tests.races import Aside, held, someone_waits
from tests.waiting import LONG
from tests.workflows.jobs import add, fail, total

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered_here", "switching"),
]

Until = Callable[..., None]


@job(concurrency=1, name="tests.races.single")
def single(number: int = 0) -> int:
    return number


@job(rate_limit="5/m", name="tests.races.rated")
def rated(number: int = 0) -> int:
    return number


@job(unique=True, max_retries=0, name="tests.races.unique")
def unique(text: str) -> str:
    return text


@pytest.fixture
def registered_here(registered: dict[str, Any]) -> None:
    registered.update({function.name: function for function in (single, rated, unique)})


class Pause:
    """Holds the first call of a function after it has done its work, until :meth:`go`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reached, self._go = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._function(*args, **kwargs)
        if not self.reached.is_set():
            self.reached.set()
            assert self._go.wait(LONG)
        return found

    def go(self) -> None:
        self._go.set()


@pytest.fixture
def race(until: Until, vendor: str) -> Callable[..., tuple[Any, Any]]:
    """Begin *first*, and *second* when *first* is in *pause*; return what both do.

    *first* goes on when *second* has ended or waits for a lock.
    """
    if vendor == "sqlite":
        pytest.skip("one transaction at a time writes")

    def race(first: Callable[[], Any], pause: Pause, second: Callable[[], Any]) -> tuple[Any, Any]:
        one = Aside(first)
        until(lambda: pause.reached.is_set() or not one.is_alive())
        other = Aside(second)
        until(lambda: not other.is_alive() or someone_waits())
        pause.go()
        return one.result(), other.result()

    return race


def taken(worker: Worker, number: int = 100) -> list[Claimed]:
    return claim(worker.pk, ["default", "mail"], number, "default")[0]


def outcomes(jobs: list[Claimed]) -> list[Outcome]:
    return [execute(one, Environment()) for one in jobs]


def test_end_of_a_job_waits_for_the_limit_that_another_one_is_looked_at_under(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    single.delay(1)
    first, _failed = Admission("default").admit(worker.pk, taken(worker))
    single.delay(2)
    second = taken(worker)
    pause = Pause(concurrency.taken)
    monkeypatch.setattr(concurrency, "taken", pause)
    ended = outcomes(first)
    race(
        lambda: Admission("default").admit(worker.pk, second),
        pause,
        lambda: record(worker.pk, ended, "default"),
    )
    # The second one came into the line before the permit was free, and was woken then.
    assert Job.objects.get(pk=second[0].id).status == "PENDING"


def test_two_retries_at_once_count_up_once(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    result = chain(add.s(1), add.s(2)).apply_async()
    jobs = taken(worker)
    record(worker.pk, outcomes(jobs), "default")
    pause = Pause(control.retrying._why_not_retry)
    monkeypatch.setattr("django_jobs.control.retrying._why_not_retry", pause)
    again = [jobs[0].id]
    done = race(lambda: control.retry(again)[0], pause, lambda: control.retry(again)[0])
    assert sorted(done) == [0, 1]
    assert Job.objects.get(pk=result.id).pending_parents == 1


def test_parent_that_fails_while_another_is_retried_fails_the_body(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    result = chord([fail.s(1), fail.s(2)], total.s()).apply_async()
    one, other = outcomes(taken(worker))
    record(worker.pk, [one], "default")
    pause = Pause(reopen._split)
    monkeypatch.setattr(reopen, "_split", pause)
    race(
        lambda: control.retry([one.job.id]),
        pause,
        lambda: record(worker.pk, [other], "default"),
    )
    assert Job.objects.get(pk=result.id).status == "FAILURE"


def test_job_that_is_revoked_between_two_tries_to_record_spoils_no_other(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    handles = [fail.delay(number) for number in range(3)]
    ended = outcomes(taken(worker))
    control.revoke([handles[0].id], terminate=True)
    pause = Pause(recording._ours)
    monkeypatch.setattr(recording, "_ours", pause)
    counted, revoked = race(
        lambda: record(worker.pk, ended, "default"),
        pause,
        lambda: control.revoke([handles[1].id], terminate=True),
    )
    assert [one.job.id for one in counted] == [one.job.id for one in ended[1:]]
    assert revoked == 0


def test_terminate_in_the_admin_beside_a_worker_that_records(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, boss = new_worker(), User.objects.create_superuser("boss")
    single.delay(1)
    jobs, _failed = Admission("default").admit(worker.pk, taken(worker))
    ended, tries = outcomes(jobs), []

    def lock(*args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        return keys(*args, **kwargs)

    # The limit is locked by then, and the job is not.
    keys = recording.in_order.__globals__["lock_keys"]
    pause = Pause(lock)
    monkeypatch.setitem(recording.in_order.__globals__, "lock_keys", pause)
    ids = [one.id for one in jobs]
    counted, done = race(
        lambda: record(worker.pk, ended, "default"),
        pause,
        lambda: job_actions.perform(job_actions.TERMINATE, ids, boss.pk, "default"),
    )
    assert counted == ended
    assert done == (0, {"is success": 1})
    # Each took its locks once: nobody was the victim of a deadlock.
    assert len(tries) == 2


def test_revoked_job_that_has_just_got_its_permit_frees_it(
    new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    single.delay_many([(1,), (2,)])
    jobs = taken(worker)
    keys_of = concurrency.keys_of

    def look(ids: Any, using: str) -> set[str]:
        found = keys_of(ids, using)
        if not Permit.objects.exists():
            Admission("default").admit(worker.pk, jobs)
        return found

    monkeypatch.setattr(concurrency, "keys_of", look)
    assert control.revoke([jobs[0].id], terminate=True) == 1
    assert not Permit.objects.exists()
    assert Job.objects.get(pk=jobs[1].id).status == "PENDING"


def test_unique_keys_of_two_transactions_are_taken_in_one_order(
    new_worker: Callable[..., Worker], race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = new_worker()
    texts = sorted("abcd", key=lambda text: uniqueness.key_of(unique, [text], {}))
    # The jobs' ids are in the opposite order of their keys.
    chain(fail.si(), group(unique.si(text) for text in reversed(texts))).apply_async()
    jobs = taken(worker)
    record(worker.pk, outcomes(jobs), "default")
    pause = Pause(uniqueness.acquire_key)
    monkeypatch.setattr(uniqueness, "acquire_key", pause)
    victims: list[BaseException] = []
    without = conflicts.kind_of

    def kind(error: BaseException) -> Any:
        victims.append(error)
        return without(error)

    monkeypatch.setattr(conflicts, "kind_of", kind)
    handles, retried = race(
        lambda: unique.delay_many([(text,) for text in texts]),
        pause,
        lambda: control.retry([jobs[0].id]),
    )
    assert len({handle.id for handle in handles}) == 4
    # The keys are the new jobs' now.
    assert retried == (0, {"another live job holds the unique key of one that depends on it": 1})
    assert victims == []


def test_start_is_taken_back_before_anybody_can_claim_the_job_again(
    new_worker: Callable[..., Worker], vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vendor == "sqlite":
        pytest.skip("one transaction at a time writes")
    worker, other = new_worker(), new_worker()
    rated.delay(1)
    jobs, _failed = Admission("default").admit(worker.pk, taken(worker))
    take_back = rate_windows.take_back
    claimed: list[Claimed] = []

    def look(*args: Any) -> None:
        claimed.extend(Aside(lambda: taken(other)).result())
        take_back(*args)

    monkeypatch.setattr(rate_windows, "take_back", look)
    release(worker.pk, jobs, "default")
    assert claimed == []
    assert not Reservation.objects.get().started


def test_stray_claim_takes_no_earlier_start_back(new_worker: Callable[..., Worker]) -> None:
    worker = new_worker()
    rated.delay(1)
    Admission("default").admit(worker.pk, taken(worker))
    Job.objects.update(status="PENDING")
    taken(worker)  # its answer was lost
    assert release_strays(worker.pk, [], "default") == 1
    assert Job.objects.get().status == "PENDING"
    assert Reservation.objects.get().started


def test_only_the_claim_that_did_not_begin_is_taken_back(
    new_worker: Callable[..., Worker],
) -> None:
    worker = new_worker()
    rated.delay(1)
    Admission("default").admit(worker.pk, taken(worker))
    Job.objects.update(status="PENDING")  # it ran, and is tried again
    jobs, _failed = Admission("default").admit(worker.pk, taken(worker))
    release(worker.pk, jobs, "default")
    starts = Reservation.objects.order_by("claims").values_list("claims", "started")
    assert list(starts) == [(1, True), (2, False)]


@pytest.mark.parametrize("end", ["expire", "revoke", "delete"])
def test_slot_of_a_job_that_will_not_start_goes_to_the_next(
    new_worker: Callable[..., Worker], end: str
) -> None:
    worker = new_worker()
    rated.delay_many([(n,) for n in range(10)])
    admission = Admission("default")
    assert len(admission.admit(worker.pk, taken(worker))[0]) == 5
    late = Job.objects.filter(status="SCHEDULED")
    slot = min(late.values_list("run_at", flat=True))
    if end == "expire":
        late.update(expires_at=clock("default", -1))
    elif end == "revoke":
        control.revoke(list(late.values_list("id", flat=True)))
    else:
        late.delete()
    new = rated.delay(10)
    admission.admit(worker.pk, [one for one in taken(worker) if one.id == new.uuid])
    row = Job.objects.get(pk=new.id)
    assert row.status == "SCHEDULED"
    # Not a minute later, behind those.
    assert abs((row.run_at - slot).total_seconds()) < 30


def test_limit_goes_when_its_permits_are_of_jobs_that_are_gone(
    new_worker: Callable[..., Worker],
) -> None:
    worker = new_worker()
    single.delay(1)
    Admission("default").admit(worker.pk, taken(worker))
    prune_limits.run_once("default")
    assert LimitLock.objects.count() == Permit.objects.count() == 1
    Job.objects.all().delete()
    prune_limits.run_once("default")
    assert LimitLock.objects.count() == Permit.objects.count() == 0


@pytest.mark.parametrize("end", ["SUCCESS", "FAILURE"])
def test_jobs_that_ran_again_while_the_retry_waited_for_a_lock_keep_no_old_steps(
    until: Until, vendor: str, end: str
) -> None:
    """Their rows are as the retry's statement saw them, except for the steps."""
    if vendor == "sqlite":
        pytest.skip("one transaction at a time writes")
    add.delay_many([(1, 1), (2, 2)])
    Job.objects.update(status="FAILURE")
    first, last = Job.objects.order_by("pk")
    with held(lambda: list(Job.objects.filter(pk=first.pk).select_for_update())):
        both = Aside(lambda: control.retry([first.pk, last.pk]))
        until(someone_waits)
        Job.objects.filter(pk=last.pk).update(status=end, claims=1)
        Step.objects.create(
            job_id=last.pk, key="paid", position=1, kind="call", function="pay", claims=1,
            state="DONE" if end == "SUCCESS" else "RETRY", tries=3,
        )  # fmt: skip
    assert both.result() == (2, {})
    assert set(Job.objects.values_list("status", flat=True)) == {"PENDING"}
    assert list(Step.objects.values_list("tries", flat=True)) == ([] if end == "SUCCESS" else [0])
