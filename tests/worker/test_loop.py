"""The parts of a worker's loop together: when it looks for jobs, and what it does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_jobs.db import dialect_for
from django_jobs.models import Job
from django_jobs.process.wakeup import GUARD_SECONDS
from django_jobs.status import Status
from django_jobs.values import Outcome
from django_jobs.worker.claim_timer import LONGEST_LOCKED, PATIENCE_SECONDS
from django_jobs.worker.loop import WorkerLoop
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.quarantine import POSTPONEMENTS
from django_jobs.worker.releaser import RELEASE_SECONDS
from tests import jobs
from tests.worker.parts import Clock, Hearing, end

pytestmark = pytest.mark.django_db


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop], clock: Clock) -> WorkerLoop:
    loop = new_loop(Hearing(), clock)
    loop.buffer.run_seconds = 0.004  # short jobs: some are claimed ahead
    return loop


@pytest.fixture
def hear(loop: WorkerLoop, clock: Clock) -> Callable[[str], float]:
    """Let the loop hear of a queue; return the seconds until it looks there."""

    def hear(topic: str) -> float:
        if loop.queues.hear(topic):
            loop.timer.heard()
        return loop.producer.next_look() - clock()

    return hear


def claim_ahead(loop: WorkerLoop, number: int) -> None:
    """Let the loop claim so many short jobs, as it does in front of a backlog."""
    loop.buffer.run_seconds = 0.0001
    loop.state.pace.claimed(0.0, number + 2, more=True)
    jobs.add.delay_many((each,) for each in range(number))
    loop.step()
    assert loop.buffer.counts()[0] == number


def end_running(loop: WorkerLoop, clock: Clock, slot: int = 0) -> None:
    """Let the job that runs in *slot* succeed."""
    job, now = loop.buffer._running[slot], clock()
    loop.buffer.end(slot, Outcome(job, Status.SUCCESS, began=now, ended=now))


def test_idle_worker_looks_as_soon_as_it_hears(loop, clock, hear):
    loop.step()
    assert loop.producer.next_look() > clock() + 1
    assert hear("default") <= 0


def test_worker_that_came_too_late_lets_others_go_first_until_it_wins_again(loop, clock, hear):
    loop.step()
    hear("default")
    loop.step()  # somebody else had it
    assert hear("default") == pytest.approx(PATIENCE_SECONDS)
    jobs.add.delay(1, 2)
    clock.advance(PATIENCE_SECONDS)
    loop.step()
    assert Job.objects.get().status == Status.STARTED
    end(loop.buffer, clock=clock)
    loop.step()
    assert hear("default") <= 0


def test_later_notifications_do_not_lengthen_the_wait_of_a_worker_that_came_too_late(
    loop, clock, hear
):
    loop.step()
    hear("default")
    loop.step()  # somebody else had it
    hear("default")
    clock.advance(PATIENCE_SECONDS)
    assert hear("default") <= 0


def test_worker_that_finds_all_ready_jobs_locked_looks_again_soon(loop, clock, monkeypatch):
    jobs.add.delay(1, 2)
    monkeypatch.setattr(type(dialect_for(connection)), "claim", lambda *_: ([], True))
    assert 0 < loop.step() < LONGEST_LOCKED
    monkeypatch.undo()
    clock.advance(LONGEST_LOCKED)
    loop.step()
    assert Job.objects.get().status == Status.STARTED


def test_worker_without_a_free_slot_waits_and_looks_when_it_has_one(loop, clock, hear):
    jobs.add.delay(1, 2)
    loop.step()
    job = loop.buffer.take(0, wait=False)
    assert hear("default") == pytest.approx(PATIENCE_SECONDS)
    now = clock()
    loop.buffer.end(0, Outcome(job, Status.SUCCESS, began=now, ended=now))
    assert loop.producer.next_look() <= clock()


def test_worker_that_took_all_there_was_looks_again_only_when_it_hears(loop, clock, hear):
    jobs.add.delay(1, 2)
    loop.step()
    end(loop.buffer, clock=clock)
    loop.step()
    assert Job.objects.get().status == Status.SUCCESS
    assert loop.producer.next_look() > clock() + 1
    jobs.add.delay(3, 4)
    assert hear("default") <= 0


def test_worker_that_hears_nothing_looks_again_after_each_job(loop, clock):
    loop.wakeup.listens = False
    jobs.add.delay(1, 2)
    loop.step()
    assert loop.producer.next_look() <= clock()


def test_burst_looks_until_it_finds_nothing(loop, clock):
    loop.state.options = WorkerOptions(burst=True)
    jobs.add.delay(1, 2)
    loop.step()
    assert loop.producer.next_look() <= clock()


def test_only_outcomes_that_counted_are_measured(loop, clock):
    jobs.add.delay_many([(1,), (2,)])
    loop.step()
    lost = Job.objects.first()
    Job.objects.filter(pk=lost.pk).update(claims=9)  # another worker has it
    end(loop.buffer, clock=clock)
    end(loop.buffer, clock=clock)
    loop.step()
    tallies = [tally for minute in loop.collector.drain().values() for tally in minute.values()]
    assert sum(tally.sent for tally in tallies) == 2
    assert sum(tally.succeeded for tally in tallies) == 1


def test_worker_looks_at_once_when_its_queues_change(loop, clock):
    jobs.add.apply_async((1,), queue="new")
    loop.take(WorkerOptions(queues=("old",)))
    loop.step()
    assert loop.producer.next_look() > clock() + 1
    loop.take(WorkerOptions(queues=("old", "new")))
    assert loop.producer.next_look() <= clock()
    loop.step()
    assert Job.objects.get().status == Status.STARTED
    end(loop.buffer, clock=clock)


def test_queue_that_was_heard_is_not_claimed_once_it_was_taken_away(loop, hear):
    loop.step()
    jobs.add.delay(1)
    hear("default")
    loop.state.options = WorkerOptions(queues=("other",))
    loop.step()
    assert Job.objects.get().status == Status.PENDING


def test_jobs_claimed_while_jobs_were_shorter_go_back_but_for_the_next_few(loop):
    claim_ahead(loop, 300)
    loop.buffer.run_seconds = 0.005
    loop.step()
    assert loop.buffer.counts()[0] == 11  # what the free slot takes, and 50 ms of work
    kept = [loop.buffer.take(0, wait=False).args for _ in range(11)]
    assert kept == [f"[{number}]" for number in range(11)]
    assert Job.objects.filter(status=Status.PENDING).count() == 289


def test_long_job_that_a_free_slot_is_about_to_take_is_not_given_back(loop):
    loop.buffer.run_seconds = 60.0
    jobs.add.delay(1, 2)
    loop.step()
    loop.step()  # before the pool's thread has had its turn
    assert loop.buffer.counts()[0] == 1
    assert Job.objects.get().status == Status.STARTED


def test_what_is_claimed_ahead_stays_while_jobs_are_as_short_as_they_were(loop):
    claim_ahead(loop, 300)
    loop.buffer.run_seconds = 0.0015
    loop.step()
    assert loop.buffer.counts()[0] == 300


def test_ready_job_is_claimed_before_the_end_of_the_last_one_is_recorded(
    loop, clock, hear, monkeypatch
):
    jobs.add.delay(1)
    loop.step()
    end(loop.buffer, clock=clock)
    jobs.add.delay(2)
    hear("default")
    hand_over, statuses = loop.producer._hand_over, []

    def note(claimed: list[Any]) -> None:
        statuses.extend(Job.objects.order_by("id").values_list("status", flat=True))
        hand_over(claimed)

    monkeypatch.setattr(loop.producer, "_hand_over", note)
    loop.step()
    assert statuses == ["STARTED", "STARTED"]
    assert sorted(Job.objects.values_list("status", flat=True)) == ["STARTED", "SUCCESS"]


def test_end_that_makes_a_job_ready_is_recorded_before_the_claim(loop, clock, hear):
    (jobs.add.si(1, 2) | jobs.add.si(3, 4)).delay()
    loop.step()
    end(loop.buffer, clock=clock)
    hear("default")
    loop.step()
    assert sorted(Job.objects.values_list("status", flat=True)) == ["STARTED", "SUCCESS"]


def test_outcome_that_waits_for_others_does_not_put_the_next_look_off(loop, clock):
    loop.buffer.run_seconds = 0.001
    loop.state.pace.record_seconds = 0.01
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.step()
    end(loop.buffer, clock=clock)
    loop.timer.look(0.005)
    assert loop.step() == pytest.approx(0.005)
    assert loop.buffer.counts()[2] == 1


def test_full_batch_after_a_look_at_empty_queues_is_followed_by_another(loop, clock, hear):
    loop.step()
    loop.buffer.run_seconds = 0.5  # nothing ahead: each claim is a full one
    jobs.add.delay_many([(1,), (2,)])
    hear("default")
    loop.step()
    end(loop.buffer, clock=clock)
    loop.step()
    assert sorted(Job.objects.values_list("status", flat=True)) == ["STARTED", "SUCCESS"]


def test_burst_does_not_end_before_it_looked_for_what_its_last_job_enqueued(loop, clock):
    loop.state.options = WorkerOptions(burst=True)
    jobs.add.delay(1)
    loop.step()
    loop.buffer.take(0, wait=False)
    loop.timer.look()
    loop.step()  # finds nothing while the job runs
    assert loop.timer.found_nothing
    jobs.add.delay(2)
    end_running(loop, clock)
    loop.step()
    assert not loop.state.stopping
    loop.step()
    assert Job.objects.filter(status=Status.STARTED).count() == 1


def test_burst_looks_at_once_for_what_a_job_enqueued_while_other_jobs_run(loop, clock):
    loop.state.options = WorkerOptions(pool="threads", slots=2, burst=True)
    jobs.add.delay_many([(1,), (2,)])
    loop.step()
    long = loop.buffer.take(1, wait=False)
    loop.buffer.take(0, wait=False)
    loop.timer.look()
    loop.step()  # finds nothing while the jobs run
    end_running(loop, clock)
    assert loop.producer.next_look() > clock()
    loop.step()
    assert long in loop.buffer._running.values()
    assert loop.producer.next_look() <= clock()


def test_after_an_error_the_loop_connects_anew_and_looks_for_strays(loop, monkeypatch, caplog):
    def away() -> float:
        raise OperationalError("gone")

    # The test's own transaction must outlive it.
    monkeypatch.setattr("django_jobs.process.reconnect.drop_connection", lambda using: None)
    monkeypatch.setattr(loop, "step", away)
    loop.wakeup.waker.wake()  # it need not sleep
    assert not loop.strays.is_due
    assert loop.turn()
    assert loop.strays.is_due
    assert not loop.wakeup.listens
    assert "while=claiming and recording" in caplog.text


def test_calls_for_one_queue_do_not_put_off_the_look_at_the_others_for_ever(loop, clock, hear):
    loop.step()
    jobs.add.apply_async((1,), queue="missed")  # its notification was lost
    clock.advance(GUARD_SECONDS)
    hear("default")
    loop.step()
    assert Job.objects.get().status == Status.STARTED


# --- jobs that were in a crash ------------------------------------------------------------------


def crashed(number: int, **columns: Any) -> None:
    jobs.add.delay_many((each,) for each in range(number))
    Job.objects.filter(status=Status.PENDING).update(crashes=1, **columns)


@pytest.fixture
def busy(loop: WorkerLoop) -> WorkerLoop:
    """A loop whose pool runs a long job in one of several slots."""
    loop.state.options = WorkerOptions(pool="threads", slots=8)
    jobs.add.delay(1, 2)
    loop.step()
    assert loop.buffer.take(0, wait=False)
    loop.timer.look()
    return loop


def test_idle_worker_begins_it_at_once_and_takes_no_other_beside(loop, clock):
    crashed(1)
    loop.step()
    assert loop.buffer.counts()[0] == 1
    jobs.add.delay(1, 2)
    loop.timer.look()
    assert loop.step() > 0.1  # it sleeps, and claims nothing
    assert Job.objects.filter(status=Status.STARTED).count() == 1
    end(loop.buffer, clock=clock)
    loop.step()
    assert loop.producer.next_look() <= clock()
    loop.step()
    assert Job.objects.filter(status=Status.STARTED).count() == 1


def test_busy_worker_sleeps_for_it_and_then_leaves_it_to_another(busy, clock):
    crashed(1)
    assert 0.1 < busy.step() <= RELEASE_SECONDS
    suspect = Job.objects.get(crashes=1)
    assert suspect.status == Status.STARTED
    clock.advance(RELEASE_SECONDS)
    busy.step()
    suspect.refresh_from_db()
    assert (suspect.status, suspect.deferrals, suspect.crashes) == (Status.SCHEDULED, 1, 1)
    assert suspect.run_at > suspect.enqueued_at
    jobs.add.delay(3, 4)
    busy.timer.look()
    busy.step()
    assert busy.buffer.counts()[0] == 1  # the other slots go on


def test_worker_that_is_always_busy_keeps_it_in_the_end(busy, clock):
    crashed(1, deferrals=POSTPONEMENTS)
    assert busy.step() > RELEASE_SECONDS
    clock.advance(RELEASE_SECONDS)
    assert busy.step() > RELEASE_SECONDS
    assert Job.objects.get(crashes=1).status == Status.STARTED
    (job,) = busy.buffer._running.values()
    now = clock()
    busy.buffer.end(0, Outcome(job, Status.SUCCESS, began=now, ended=now))
    assert busy.step() == 0
    busy.step()
    assert busy.buffer.counts()[0] == 1


def test_those_of_a_dead_host_are_claimed_one_by_one(loop, clock):
    loop.buffer.run_seconds = 0.001
    crashed(20)
    loop.step()
    assert Job.objects.filter(status=Status.STARTED).count() == 1
    claims = sum(Job.objects.values_list("claims", flat=True))
    for _ in range(3):
        end(loop.buffer, clock=clock)
        loop.timer.look()
        loop.step()
        loop.step()
    assert sum(Job.objects.values_list("claims", flat=True)) == claims + 3


def test_it_is_given_back_when_the_worker_stops(busy):
    crashed(1)
    busy.step()
    busy.state.stopping = True
    busy.step()
    assert Job.objects.get(crashes=1).status == Status.PENDING


def test_it_can_be_terminated_before_it_begins(busy):
    crashed(1)
    busy.step()
    suspect = Job.objects.get(crashes=1)
    assert (suspect.pk, suspect.claims) in busy.buffer.held()
    assert not busy.buffer.remove(suspect.pk, suspect.claims + 1)
    assert busy.buffer.remove(suspect.pk, suspect.claims)
    assert (suspect.pk, suspect.claims) not in busy.buffer.held()


def test_it_may_be_terminated_at_any_moment_of_the_loop_s_step(busy, clock, monkeypatch):
    crashed(1)
    busy.step()
    suspect = Job.objects.get(crashes=1)
    clock.advance(RELEASE_SECONDS)
    counts = busy.buffer.counts

    def terminated_meanwhile() -> Any:
        busy.buffer.remove(suspect.pk, suspect.claims)
        return counts()

    monkeypatch.setattr(busy.buffer, "counts", terminated_meanwhile)
    busy.step()
    suspect.refresh_from_db()
    assert (suspect.status, suspect.deferrals) == (Status.STARTED, 0)


def test_job_that_waits_in_a_process_can_be_terminated(loop):
    loop.buffer.run_seconds = 0.001
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.step()
    second = Job.objects.order_by("id")[1]
    assert not loop.buffer.remove(second.pk, 9)
    assert loop.buffer.remove(second.pk, 1)
    assert [loop.buffer.take(slot, wait=False).args for slot in (0, 1)] == ["[1]", "[3]"]


def test_job_that_went_back_from_behind_a_long_one_is_not_claimed_again(loop, clock):
    loop.buffer.run_seconds = 0.5
    jobs.add.delay(1)
    loop.step()
    loop.buffer.take(0, wait=False)
    jobs.add.delay(2)
    for seconds, statuses in (
        (0.6, ["STARTED", "STARTED"]),  # the first job should end soon
        (RELEASE_SECONDS, ["PENDING", "STARTED"]),
        (0.01, ["PENDING", "STARTED"]),
        (GUARD_SECONDS, ["PENDING", "STARTED"]),
    ):
        clock.advance(seconds)
        loop.timer.look()
        loop.step()
        assert sorted(Job.objects.values_list("status", flat=True)) == statuses
