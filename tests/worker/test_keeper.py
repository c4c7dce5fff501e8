"""When a worker looks for jobs: who goes first, and who need not look at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_jobs.ids import uuid7
from django_jobs.metrics.collector import Collector
from django_jobs.models import Job, Worker
from django_jobs.process.wakeup import GUARD_SECONDS, Waker, Wakeup
from django_jobs.status import Status
from django_jobs.values import Outcome
from django_jobs.worker.buffer import Desk
from django_jobs.worker.keeper import PATIENCE_SECONDS, POSTPONEMENTS, RELEASE_SECONDS, Keeper
from django_jobs.worker.options import WorkerOptions
from tests import jobs

pytestmark = pytest.mark.django_db


class Clock:
    """The time of the keeper and of these tests: it stands still, however slow the machine is."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        return self._now


class Hearing(Wakeup):
    """A wake-up that hears what a test says, and needs no time to."""

    def __init__(self) -> None:
        super().__init__("default", Waker())
        self.listens = True
        self.topics: list[str] = []

    def wait(self, seconds: float) -> list[str]:
        heard, self.topics = self.topics, []
        return heard


@pytest.fixture
def keeper(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    names = ("tests.worker.test_keeper", "django_jobs.worker.keeper", "django_jobs.worker.buffer")
    for module in names:
        monkeypatch.setattr(f"{module}.time", clock)

    def nothing(*_: Any) -> None:
        pass

    wakeup = Hearing()
    keeper = Keeper(
        worker.pk,
        WorkerOptions(),
        Desk(nothing, None),
        wakeup,
        Collector(),
        on_topic=nothing,
        on_put=nothing,
        on_database_error=nothing,
    )
    keeper.desk.run_seconds = 0.01  # short jobs: some are claimed ahead
    yield keeper
    wakeup.waker.close()


@pytest.fixture
def hear(keeper: Keeper) -> Callable[[str], float]:
    """Let the keeper hear of a queue; return the seconds until it looks there."""

    def hear(topic: str) -> float:
        keeper.wakeup.topics.append(topic)
        keeper._sleep(1.0)
        return keeper._next_look() - time.monotonic()

    return hear


def end(keeper: Keeper) -> None:
    job = keeper.desk.take(0, wait=False)
    assert job is not None
    now = time.monotonic()
    keeper.desk.end(0, Outcome(job, Status.SUCCESS, began=now, ended=now))


def test_idle_worker_looks_as_soon_as_it_hears(keeper, hear):
    keeper.step()
    assert keeper._next_look() > time.monotonic() + 1
    assert hear("default") <= 0


def test_worker_that_came_too_late_lets_others_go_first_until_it_wins_again(keeper, hear):
    keeper.step()
    hear("default")
    keeper.step()  # somebody else had it
    assert hear("default") == pytest.approx(PATIENCE_SECONDS)
    jobs.add.delay(1, 2)
    keeper._heard_at -= PATIENCE_SECONDS
    keeper.step()
    assert Job.objects.get().status == Status.STARTED
    end(keeper)
    keeper.step()
    assert hear("default") <= 0


def test_worker_that_lets_others_go_first_is_not_put_off_by_what_it_hears_meanwhile(keeper, hear):
    keeper.step()
    hear("default")
    keeper.step()  # somebody else had it
    hear("default")
    keeper._heard_at -= PATIENCE_SECONDS
    assert hear("default") <= 0


def test_worker_that_finds_all_ready_jobs_locked_pauses_longer_each_time(keeper, monkeypatch):
    jobs.add.delay(1, 2)
    claims = [([], True)] * 20
    monkeypatch.setattr(keeper._claimer, "claim", lambda *_: claims.pop())
    pauses = []
    while claims:
        now = time.monotonic()
        keeper.step()
        assert keeper._look_at >= now + keeper._locked_pause
        pauses.append(keeper._locked_pause)
        keeper._look_at = 0.0
    assert 0 < pauses[0] < pauses[1] < pauses[-2] == pauses[-1] < 1.0
    # It starts over after a claim that met no locks.
    claims += [([], True), ([], False)]
    keeper.step()
    keeper._look_at = 0.0
    keeper.step()
    assert keeper._locked_pause == pauses[0]


def test_worker_without_a_free_slot_lets_others_go_first_and_looks_when_it_has_one(keeper, hear):
    jobs.add.delay(1, 2)
    keeper.step()
    job = keeper.desk.take(0, wait=False)
    assert hear("default") == pytest.approx(PATIENCE_SECONDS)
    now = time.monotonic()
    keeper.desk.end(0, Outcome(job, Status.SUCCESS, began=now, ended=now))
    assert keeper._next_look() <= time.monotonic()


def test_worker_that_took_all_there_was_looks_again_only_when_it_hears(keeper, hear):
    jobs.add.delay(1, 2)
    keeper.step()
    end(keeper)
    keeper.step()
    assert Job.objects.get().status == Status.SUCCESS
    assert keeper._next_look() > time.monotonic() + 1
    jobs.add.delay(3, 4)
    assert hear("default") <= 0


def test_worker_that_hears_nothing_looks_again_after_each_job(keeper):
    keeper.wakeup.listens = False
    jobs.add.delay(1, 2)
    keeper.step()
    assert keeper._next_look() <= time.monotonic()


def test_burst_looks_until_it_finds_nothing(keeper):
    object.__setattr__(keeper.options, "burst", True)
    jobs.add.delay(1, 2)
    keeper.step()
    assert keeper._next_look() <= time.monotonic()


def test_only_outcomes_that_counted_are_measured(keeper):
    jobs.add.delay_many([(1,), (2,)])
    keeper.step()
    lost = Job.objects.first()
    Job.objects.filter(pk=lost.pk).update(claims=9)  # another worker has it
    end(keeper)
    end(keeper)
    keeper.step()
    (tallies,) = keeper.collector.take().values()
    (tally,) = tallies.values()
    assert (tally.sent, tally.succeeded) == (2, 1)


def test_worker_looks_at_once_when_its_queues_change(keeper):
    jobs.add.apply_async((1,), queue="new")
    keeper.take(WorkerOptions(queues=("old",)))
    keeper.step()
    assert keeper._next_look() > time.monotonic() + 1
    keeper.take(WorkerOptions(queues=("old", "new")))
    assert keeper._next_look() <= time.monotonic()
    keeper.step()
    assert Job.objects.get().status == Status.STARTED
    end(keeper)


def test_queue_that_was_heard_is_not_claimed_once_it_was_taken_away(keeper, hear):
    keeper.step()
    jobs.add.delay(1)
    hear("default")
    keeper.options = WorkerOptions(queues=("other",))
    keeper.step()
    assert Job.objects.get().status == Status.PENDING


def test_jobs_claimed_while_jobs_were_shorter_go_back_but_for_the_next_few(keeper):
    keeper.desk.run_seconds = 0.0001
    jobs.add.delay_many((number,) for number in range(300))
    keeper.step()
    assert keeper.desk.counts()[0] == 300
    keeper.desk.run_seconds = 0.005
    keeper.step()
    assert keeper.desk.counts()[0] == 11  # what the free slot takes, and 50 ms of work
    kept = [keeper.desk.take(0, wait=False).args for _ in range(11)]
    assert kept == [f"[{number}]" for number in range(11)]
    assert Job.objects.filter(status=Status.PENDING).count() == 289


def test_long_job_that_a_free_slot_is_about_to_take_is_not_given_back(keeper):
    keeper.desk.run_seconds = 60.0
    jobs.add.delay(1, 2)
    keeper.step()
    keeper.step()  # before the pool's thread has had its turn
    assert keeper.desk.counts()[0] == 1
    assert Job.objects.get().status == Status.STARTED


def test_what_is_claimed_ahead_stays_while_jobs_are_as_short_as_they_were(keeper):
    keeper.desk.run_seconds = 0.0001
    jobs.add.delay_many((number,) for number in range(300))
    keeper.step()
    keeper.desk.run_seconds = 0.0015
    keeper.step()
    assert keeper.desk.counts()[0] == 300


def test_full_batch_after_a_look_at_empty_queues_is_followed_by_another(keeper, hear):
    keeper.step()
    keeper.desk.run_seconds = 0.5  # nothing ahead: each claim is a full one
    jobs.add.delay_many([(1,), (2,)])
    hear("default")
    keeper.step()
    end(keeper)
    keeper.step()
    assert sorted(Job.objects.values_list("status", flat=True)) == ["STARTED", "SUCCESS"]


def test_burst_does_not_end_before_it_looked_for_what_its_last_job_enqueued(keeper):
    object.__setattr__(keeper.options, "burst", True)
    jobs.add.delay(1)
    keeper.step()
    keeper._was_empty = True  # another slot's look, while the job ran
    jobs.add.delay(2)
    end(keeper)
    keeper.step()
    assert not keeper.stopping
    assert Job.objects.filter(status=Status.STARTED).count() == 1


def test_calls_for_one_queue_do_not_put_off_the_look_at_the_others_for_ever(keeper, hear):
    keeper.step()
    jobs.add.apply_async((1,), queue="missed")  # its notification was lost
    for _ in range(3):
        keeper._queues_asked -= GUARD_SECONDS
        keeper._queues_read -= GUARD_SECONDS
        hear("default")
        keeper.step()
    assert Job.objects.get().status == Status.STARTED


# --- jobs that were in a crash ------------------------------------------------------------------


def crashed(number: int, **columns: Any) -> None:
    jobs.add.delay_many((each,) for each in range(number))
    Job.objects.filter(status=Status.PENDING).update(crashes=1, **columns)


@pytest.fixture
def busy(keeper: Keeper) -> Keeper:
    """A keeper whose pool runs a long job in one of several slots."""
    keeper.options = WorkerOptions(pool="threads", slots=8)
    jobs.add.delay(1, 2)
    keeper.step()
    assert keeper.desk.take(0, wait=False)
    keeper._look_at = 0.0
    return keeper


def test_idle_worker_begins_it_at_once_and_takes_no_other_beside(keeper):
    crashed(1)
    keeper.step()
    assert keeper.desk.counts()[0] == 1
    jobs.add.delay(1, 2)
    keeper._look_at = 0.0
    assert keeper.step() > 0.1  # it sleeps, and claims nothing
    assert Job.objects.filter(status=Status.STARTED).count() == 1
    end(keeper)
    keeper.step()
    assert keeper._next_look() <= time.monotonic()
    keeper.step()
    assert Job.objects.filter(status=Status.STARTED).count() == 1


def test_busy_worker_sleeps_for_it_and_then_leaves_it_to_another(busy):
    crashed(1)
    assert 0.1 < busy.step() <= RELEASE_SECONDS
    suspect = Job.objects.get(crashes=1)
    assert suspect.status == Status.STARTED
    busy._suspected_at -= RELEASE_SECONDS
    busy.step()
    suspect.refresh_from_db()
    assert (suspect.status, suspect.deferrals, suspect.crashes) == (Status.SCHEDULED, 1, 1)
    assert suspect.run_at > suspect.enqueued_at
    jobs.add.delay(3, 4)
    busy._look_at = 0.0
    busy.step()
    assert busy.desk.counts()[0] == 1  # the other slots go on


def test_worker_that_is_always_busy_keeps_it_in_the_end(busy):
    crashed(1, deferrals=POSTPONEMENTS)
    assert busy.step() > RELEASE_SECONDS
    busy._suspected_at -= RELEASE_SECONDS
    assert busy.step() > RELEASE_SECONDS
    assert Job.objects.get(crashes=1).status == Status.STARTED
    (job,) = busy.desk.running()
    now = time.monotonic()
    busy.desk.end(0, Outcome(job, Status.SUCCESS, began=now, ended=now))
    assert busy.step() == 0
    busy.step()
    assert busy.desk.counts()[0] == 1


def test_those_of_a_dead_host_are_claimed_one_by_one(keeper):
    keeper.desk.run_seconds = 0.001
    crashed(20)
    keeper.step()
    assert Job.objects.filter(status=Status.STARTED).count() == 1
    claims = sum(Job.objects.values_list("claims", flat=True))
    for _ in range(3):
        end(keeper)
        keeper._look_at = 0.0
        keeper.step()
        keeper.step()
    assert sum(Job.objects.values_list("claims", flat=True)) == claims + 3


def test_it_is_given_back_when_the_worker_stops(busy):
    crashed(1)
    busy.step()
    busy.stopping = True
    busy.step()
    assert Job.objects.get(crashes=1).status == Status.PENDING


def test_it_can_be_terminated_before_it_begins(busy):
    crashed(1)
    busy.step()
    suspect = Job.objects.get(crashes=1)
    assert (suspect.pk, suspect.claims) in busy.desk.held()
    assert not busy.desk.remove(suspect.pk, suspect.claims + 1)
    assert busy.desk.remove(suspect.pk, suspect.claims)
    assert (suspect.pk, suspect.claims) not in busy.desk.held()


def test_it_may_be_terminated_at_any_moment_of_the_keeper_s_step(busy, monkeypatch):
    crashed(1)
    busy.step()
    suspect = Job.objects.get(crashes=1)
    busy._suspected_at -= RELEASE_SECONDS
    counts = busy.desk.counts

    def terminated_meanwhile() -> Any:
        busy.desk.remove(suspect.pk, suspect.claims)
        return counts()

    monkeypatch.setattr(busy.desk, "counts", terminated_meanwhile)
    busy.step()
    suspect.refresh_from_db()
    assert (suspect.status, suspect.deferrals) == (Status.STARTED, 0)


def test_job_that_waits_in_a_process_can_be_terminated(keeper):
    keeper.desk.run_seconds = 0.001
    jobs.add.delay_many([(1,), (2,), (3,)])
    keeper.step()
    second = Job.objects.order_by("id")[1]
    assert not keeper.desk.remove(second.pk, 9)
    assert keeper.desk.remove(second.pk, 1)
    assert [keeper.desk.take(slot, wait=False).args for slot in (0, 1)] == ["[1]", "[3]"]


# --- progress -----------------------------------------------------------------------------------


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the keeper saves of progress, in order."""
    saved: list[Any] = []

    def save(worker_id: Any, shown: Any, using: str) -> None:
        saved.extend(progress["done"] for progress in shown.values())

    monkeypatch.setattr("django_jobs.worker.keeper.save_progress", save)
    return saved


class Running:
    """A running job, as far as the keeper looks at it."""

    request = SimpleNamespace(uuid=uuid7())

    def __init__(self, meanwhile: Callable[[], Any] = lambda: None) -> None:
        self.meanwhile = meanwhile

    @property
    def claims(self) -> int:
        self.meanwhile()
        return 1


def save_now(keeper: Keeper) -> None:
    keeper._saved_at = 0.0
    keeper._save_progress()


def test_progress_shown_while_the_keeper_saves_is_saved_next(keeper, saved):
    keeper.show(Running(), {"done": 1})
    keeper.show(Running(lambda: save_now(keeper)), {"done": 2})
    save_now(keeper)
    assert saved == [1, 2]


def test_jobs_show_their_progress_while_the_keeper_saves(keeper, saved, switching):
    def show() -> None:
        for done in range(2_000):
            running = Running()
            running.request = SimpleNamespace(uuid=uuid7())
            keeper.show(running, {"done": done})

    threads = [threading.Thread(target=show) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        save_now(keeper)
    save_now(keeper)
    assert sorted(saved) == sorted([*range(2_000)] * 3)


def test_progress_is_kept_while_the_database_is_away(keeper, monkeypatch):
    def fail(*_: Any) -> None:
        raise OperationalError("gone")

    result = jobs.add.delay(1, 2)
    keeper.step()
    with monkeypatch.context() as patched:
        patched.setattr("django_jobs.worker.keeper.save_progress", fail)
        running = Running()
        running.request = SimpleNamespace(uuid=result.id)
        keeper.show(running, {"done": 1})
        with pytest.raises(OperationalError):
            save_now(keeper)
    save_now(keeper)
    assert result.progress == {"done": 1}
    end(keeper)
