"""One idle worker is called for each notification, and no call is lost."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from django_jobs.enqueue.notify import Topic
from django_jobs.worker.dispatched import AWAY_SECONDS, LONGEST_SECONDS
from django_jobs.worker.dispatcher import SHORTEST_IDLE_SECONDS, STEP_SECONDS
from django_jobs.worker.options import WorkerOptions

from .dispatching import Host, Worker

pytestmark = pytest.mark.once

# The topics of single jobs.
A, B, C = (f"q\t{UUID(int=number).hex}" for number in range(3))


def claims(
    worker: Worker, found: int, want: int, *, queue: str = "q", locked: bool = False
) -> bool:
    """Let the worker have claimed so many jobs; return whether it waits for the next call."""
    jobs: list[Any] = [SimpleNamespace(queue=queue)] * found
    return worker.wakeup.claimed(jobs, want, locked=locked)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.fixture
def silent() -> Iterator[Host]:
    """A host whose database sends no notifications."""
    host = Host(notifies=False)
    yield host
    host.close()


# --- the choice ---------------------------------------------------------------------------------


def test_worker_that_fell_asleep_last_is_called_then_the_one_before(host):
    for _ in range(3):
        host.add()
    host.notify(A)
    assert host.calls() == [[], [], [A]]
    host.notify(B)
    assert host.calls() == [[], [B], []]
    assert host.calls() == [[], [], []]
    host.notify(A, B, C)
    # The second one said later than the third one that it is idle again.
    assert host.calls() == [[C], [A], [B]]


def test_full_worker_whose_job_is_about_to_end_is_called_when_no_other_is_idle(host):
    host.add()
    second = host.add()
    second.sleep(full=True)
    host.notify(A)
    assert host.workers[0].sleep() == [A]
    assert claims(host.workers[0], 1, 1)
    host.workers[0].sleep(idle=False)
    host.notify(B)
    assert second.sleep(full=True) == [B]


def test_full_worker_that_becomes_idle_is_the_one_that_fell_asleep_last(host):
    host.add()
    second = host.add()
    second.sleep(full=True)
    host.step()
    second.sleep()
    host.notify(A)
    assert host.calls() == [[], [A]]


def test_worker_that_serves_the_queue_is_called(host):
    for options in ({"queues": ("q",)}, {"exclude_queues": ("q",)}, {"queues": ("other",)}):
        host.add(**options)
    host.notify(A)
    assert host.calls() == [[A], [], []]
    host.notify("third")
    assert host.calls() == [[], ["third"], []]


def test_queue_that_no_worker_serves_is_not_kept(host):
    worker = host.add(queues=("q",))
    host.notify("other")
    worker.wakeup.serve(WorkerOptions())
    host.step()
    assert host.calls() == [[]]


def test_first_worker_that_becomes_idle_gets_the_call_that_found_none(host):
    worker = host.add()
    worker.sleep(idle=False)
    host.notify(A)
    assert worker.sleep(idle=False) == []
    worker.sleep()
    host.step()
    assert worker.sleep() == [A]
    host.step()
    assert worker.sleep() == []


def test_two_notifications_that_found_none_idle_become_one_for_any_number_of_jobs(host):
    worker = host.add()
    worker.sleep(idle=False)
    host.notify(A, B)
    worker.sleep()
    host.step()
    assert worker.sleep() == ["q"]


def test_topics_that_are_no_queue_are_passed_on_and_call_nobody(host):
    worker = host.add()
    worker.sleep()
    host.notify(Topic.COMMANDS, Topic.TIMED, Topic.SCHEDULES)
    assert host.topics == [Topic.COMMANDS, Topic.TIMED, Topic.SCHEDULES]
    assert worker.sleep() == []


def test_changed_options_reach_the_dispatcher(host):
    worker = host.add(queues=("q",))
    worker.wakeup.serve(WorkerOptions(queues=("other",)))
    worker.sleep()
    host.notify(A, "other")
    assert worker.sleep() == ["other"]


# --- no call is lost ----------------------------------------------------------------------------


def test_notification_between_the_last_claim_and_the_sleep_waits_for_the_sleeper(host):
    worker = host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    assert claims(worker, 0, 1)  # somebody else had the job
    host.notify(B)  # nobody is idle: the worker has not said so since it was called
    worker.sleep()
    host.step()
    assert worker.sleep() == [B]


def test_call_that_meets_a_worker_with_jobs_goes_to_another(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    # It claimed by itself, before it saw the call.
    assert worker.sleep(idle=False) == []
    host.step()
    assert other.sleep() == [A]


def test_worker_that_said_it_was_idle_before_it_saw_the_call_is_called_once(host):
    worker = host.add()
    host.notify(A)
    link = worker.wakeup._link
    assert link is not None
    link.send(["busy"])
    link.send(["idle", 0])
    host.notify(B)
    assert worker.sleep() == [A]
    assert claims(worker, 1, 1)
    worker.sleep()
    host.step()
    assert worker.sleep() == [B]


def test_call_that_a_worker_cannot_use_any_more_goes_to_another(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    worker.sleep(idle=False)  # such as one that was made quiet
    host.step()
    assert other.sleep() == [A]


@pytest.mark.parametrize("saw", [False, True])
def test_call_of_a_worker_that_ended_before_its_claim_goes_to_another(host, saw):
    other, worker = host.add(), host.add()
    host.notify(A)
    if saw:
        assert worker.sleep() == [A]
    host.workers.remove(worker)
    worker.die()
    host.step()
    assert other.sleep() == ["q"]


def test_worker_that_ended_idle_is_not_called(host):
    other, worker = host.add(), host.add()
    host.workers.remove(worker)
    worker.die()
    host.notify(A)
    assert other.sleep() == [A]


def test_worker_that_takes_no_messages_is_given_up(host, monkeypatch):
    other, worker = host.add(), host.add()
    last = next(reversed(host.dispatcher._idle))
    monkeypatch.setattr(last.link, "send", lambda message: False)
    host.notify(A)
    assert other.sleep() == ["q"]
    assert last not in host.dispatcher._callers
    # It joins again.
    worker.sleep()
    worker.sleep()
    host.notify(B)
    assert worker.sleep() == [B]


def test_new_worker_lets_the_dispatcher_look_once(host):
    host.add()
    looks, host.ready = host.looks, ["q"]
    worker = host.add()
    assert host.looks == looks + 1
    assert worker.sleep() == []  # it had said that it is idle, and has got the call
    assert worker.wakeup._calls == ["q"]


def test_error_of_the_database_during_a_look_loses_no_message(host, monkeypatch):
    worker = host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    claims(worker, 0, 1)
    worker.sleep()

    def fail(using: str) -> list[str]:
        raise OperationalError("gone")

    monkeypatch.setattr(host.dispatcher, "_ready_queues", fail)
    with pytest.raises(OperationalError):
        host.notify(Topic.ANY)
    monkeypatch.undo()
    host.notify(B)
    assert worker.sleep() == [B]


# --- many jobs at once --------------------------------------------------------------------------


def test_worker_that_left_jobs_to_others_has_one_more_called_and_so_on(host):
    third, second, first = host.add(), host.add(), host.add()
    host.notify("q")
    for worker in (first, second):
        assert worker.sleep() == ["q"]
        assert not claims(worker, 1, 1)  # it claims again by itself
        host.step()
    assert third.sleep() == ["q"]
    assert claims(third, 0, 1)  # no more jobs are left
    host.step()
    assert first.sleep(idle=False) == second.sleep(idle=False) == []


def test_worker_that_goes_on_claiming_calls_others_once(host):
    second, first = host.add(), host.add()
    host.notify("q")
    assert first.sleep() == ["q"]
    for _ in range(3):
        assert not claims(first, 1, 1)
    host.step()
    assert second.sleep() == ["q"]
    assert claims(second, 0, 1)
    second.sleep()
    host.step()
    assert second.sleep() == []
    assert claims(first, 0, 1)


def test_claim_for_a_single_job_calls_no_other_worker_and_is_not_repeated(host):
    second, first = host.add(), host.add()
    host.notify(A)
    assert first.sleep() == [A]
    assert claims(first, 1, 1)
    host.step()
    assert second.sleep() == []


def test_call_for_a_job_goes_to_another_worker_after_a_claim_of_another_queues_jobs(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    assert claims(worker, 1, 1, queue="urgent")
    host.step()
    assert other.sleep() == [A]


def test_full_claim_without_a_call_lets_the_dispatcher_look(host):
    worker = host.add()
    looks = host.looks
    assert not claims(worker, 1, 1)
    host.step()
    assert host.looks == looks + 1


def test_worker_that_met_only_locked_jobs_keeps_its_call(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    assert not claims(worker, 0, 1, locked=True)
    host.step()
    assert other.sleep() == []
    worker.sleep(idle=False)
    host.step()
    assert other.sleep() == [A]


def test_worker_that_met_locked_jobs_beside_its_own_looks_again_itself(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    assert worker.sleep() == [A]
    assert not claims(worker, 1, 2, locked=True)
    host.step()
    assert other.sleep() == []


# --- without a coordinator ----------------------------------------------------------------------


def test_new_dispatcher_looks_and_calls_the_workers_of_the_old_one(host):
    worker = host.add()
    host.dispatcher.close()
    worker.sleep()
    assert worker.wakeup.next_look() == LONGEST_SECONDS
    host.ready = ["q"]
    host.begin()
    host.step()
    assert worker.sleep() == []  # it sees the end of the old link
    worker.sleep()
    host.step()
    assert worker.sleep() == ["q"]


def test_worker_that_no_coordinator_answers_looks_itself(host):
    worker = host.add()
    host.dispatcher.close()
    worker.sleep()
    assert worker.wakeup.wait(0.0, idle=True) == []
    assert worker.wakeup.next_look() == AWAY_SECONDS


def test_worker_that_no_coordinator_answers_is_woken_by_time(host, monkeypatch):
    worker = host.add()
    host.dispatcher.close()
    worker.sleep()
    slept: list[float] = []

    def wait(seconds: float, *also: int | None) -> tuple[bool, set[int]]:
        slept.append(seconds)
        return False, set()

    monkeypatch.setattr(worker.waker, "wait", wait)
    assert worker.wakeup.wait(60.0, idle=True) == [Topic.ANY]
    assert worker.wakeup.wait(60.0, idle=False) == []
    assert slept == [AWAY_SECONDS] * 2
    host.begin()


def test_workers_that_find_no_room_in_the_line_try_again(host, monkeypatch):
    worker = host.add()
    host.dispatcher.close()
    worker.sleep()
    monkeypatch.setattr(host.line, "join", lambda: None)
    assert worker.sleep() == []
    monkeypatch.undo()
    host.begin()
    worker.sleep()
    host.notify(A)
    assert worker.sleep() == [A]


# --- a database without notifications -----------------------------------------------------------


def test_change_of_the_database_lets_the_dispatcher_look(silent):
    worker = silent.add()
    silent.ready = ["q"]
    silent.notify(Topic.ANY)
    assert worker.sleep() == ["q"]


def test_guard_looks_for_lost_notifications(host):
    worker = host.add()
    host.ready = ["q"]
    host.step()
    assert worker.sleep() == []
    host.clock.advance(10.0)
    host.step()
    assert worker.sleep() == ["q"]


def test_queue_is_looked_at_once_until_the_called_worker_has_claimed(silent):
    second, first = silent.add(), silent.add()
    silent.ready = ["q"]
    silent.notify(Topic.ANY)
    silent.notify(Topic.ANY)
    assert first.sleep() == ["q"]
    assert second.sleep() == []
    claims(first, 1, 1)
    silent.step()
    assert second.sleep() == ["q"]


def test_queue_whose_jobs_nobody_may_claim_is_not_looked_at_again_and_again(silent):
    worker = silent.add()
    silent.ready = ["paused"]
    silent.notify(Topic.ANY)
    work, looks = silent.notified.work, silent.looks
    for _ in range(5):
        claims(worker, 0, 1)
        worker.sleep()
        silent.step()
    assert silent.looks == looks
    for _ in range(5):
        silent.clock.advance(10.0)
        silent.step()
    assert silent.notified.work == work  # so the pauses of a polled database grow


@pytest.mark.parametrize(("workers", "seconds"), [(2, 0.5), (12, SHORTEST_IDLE_SECONDS)])
def test_polled_database_is_polled_as_often_as_its_workers_would_do(silent, workers, seconds):
    for _ in range(workers):
        silent.add()
    silent.clock.advance(10.0)
    silent.step()
    looks = silent.looks
    silent.clock.advance(seconds - 0.01)
    silent.step()
    assert silent.looks == looks
    silent.clock.advance(0.01)
    silent.step()
    assert silent.looks == looks + 1


# --- several dispatchers ------------------------------------------------------------------------


def test_dispatcher_looks_later_whether_the_one_before_it_has_left_jobs(host):
    worker = host.add()
    host.rank, looks = 2, host.looks
    host.notify(A)
    assert worker.sleep() == []
    host.clock.advance(2 * STEP_SECONDS)
    host.step()
    assert (worker.sleep(), host.looks) == ([], looks + 1)
    host.ready = ["q"]
    host.notify(B)
    host.clock.advance(STEP_SECONDS)
    host.step()
    assert worker.sleep() == []
    host.clock.advance(STEP_SECONDS)
    host.step()
    assert worker.sleep() == ["q"]


def test_dispatcher_looks_after_the_first_of_many_notifications(host):
    host.add()
    host.rank, looks = 1, host.looks
    host.notify(A)
    host.clock.advance(STEP_SECONDS / 2)
    host.notify(B)
    host.clock.advance(STEP_SECONDS / 2)
    host.step()
    assert host.looks == looks + 1
    host.clock.advance(STEP_SECONDS)
    host.step()
    assert host.looks == looks + 1


def test_dispatcher_without_an_idle_worker_looks_for_others_when_it_has_one(host):
    worker = host.add()
    worker.sleep(idle=False)
    host.rank, looks = 1, host.looks
    host.ready = ["q"]
    host.notify(A)
    host.clock.advance(1.0)
    host.step()
    assert host.looks == looks
    worker.sleep()
    host.step()
    assert worker.sleep() == ["q"]


def test_returned_call_stays_with_its_dispatcher(host):
    other, worker = host.add(), host.add()
    host.notify(A)
    host.rank = 1
    assert worker.sleep() == [A]
    worker.sleep(idle=False)
    host.step()
    assert other.sleep() == [A]
