"""Planning and firing: exactly once per tick, by the database's clock, with any row."""

from __future__ import annotations

import datetime
import threading
import uuid

import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs.beat import fire
from django_jobs.beat.fire import fire_due
from django_jobs.beat.loop import Beat
from django_jobs.control.schedules import disable, enable, run_now, skip_next
from django_jobs.db import own_connection, unix_time
from django_jobs.exceptions import JobsError
from django_jobs.models import Job, Schedule
from django_jobs.schedules.planning import plan, seconds_until_next
from django_jobs.schedules.ticks import first_tick
from django_jobs.status import Status
from tests.beat.conftest import ADD

HOUR = datetime.timedelta(hours=1)
pytestmark = pytest.mark.django_db


def test_due_schedule_enqueues_its_job(make):
    schedule = make(due=1, kwargs={}, queue="mail", priority=7, headers={"a": 1})
    assert fire_due("default") == 1
    job = Job.objects.get()
    assert (job.name, job.args, job.kwargs, job.queue) == (ADD, [1, 2], {}, "mail")
    assert (job.status, job.priority, job.headers) == (Status.PENDING, 7, {"a": 1})
    assert (job.schedule_id, job.run_at) == (schedule.pk, schedule.next_run_at)
    tick = schedule.next_run_at
    schedule.refresh_from_db()
    assert schedule.next_run_at == tick + HOUR
    assert (schedule.run_count, schedule.skipped_count) == (1, 0)
    assert schedule.last_job_id == job.pk
    assert schedule.last_run_at >= tick
    assert fire_due("default") == 0


def test_job_of_a_schedule_runs(make, work):
    make(due=1)
    fire_due("default")
    (outcome,) = work()
    assert outcome.status == Status.SUCCESS
    assert outcome.value == 3


def assert_waits_for_the_schedule() -> None:
    """Compare the pause with the only schedule's row, by the database's clock before and after."""
    due_at = Schedule.objects.get().next_run_at.timestamp()
    before = unix_time("default")
    pause = seconds_until_next("default")
    assert due_at - unix_time("default") - 0.01 <= pause <= due_at - before + 0.01
    assert 0 < pause <= 3600


def test_schedule_that_is_not_due_waits(make):
    make()
    assert fire_due("default") == 0
    assert_waits_for_the_schedule()
    assert not Job.objects.exists()


def test_clock_of_the_beats_host_does_not_matter(make, vendor, monkeypatch):
    if vendor == "sqlite":
        return  # SQLite uses the host's clock
    make()
    ahead = timezone.now() + 2 * HOUR
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    assert fire_due("default") == 0
    assert_waits_for_the_schedule()


def test_disabled_schedule_does_not_fire(make):
    schedule = make(due=1)
    Schedule.objects.filter(pk=schedule.pk).update(enabled=False)
    assert fire_due("default") == 0
    assert seconds_until_next("default") == float("inf")


def test_new_schedule_waits_for_its_next_tick(make):
    before = unix_time("default")
    schedule = make(kind="crontab", crontab="* * * * *")
    # A minute may begin after the schedule was planned.
    minutes = {now // 60 + 1 for now in (before, unix_time("default"))}
    assert schedule.next_run_at.timestamp() / 60 in minutes


def test_schedule_enabled_again_fires_nothing_of_the_time_before(make):
    schedule = make(due=7200, missed="all")
    assert disable([schedule.pk]) == [schedule.pk]
    assert enable([schedule.pk]) == [schedule.pk]
    assert fire_due("default") == 0
    schedule.refresh_from_db()
    assert schedule.next_run_at > timezone.now()


def test_change_of_the_times_plans_anew(make):
    schedule = make(due=1)
    schedule.interval_seconds = 60
    schedule.save()
    assert fire_due("default") == 0
    assert plan("default") == 1
    assert seconds_until_next("default") <= 60


def test_open_form_does_not_overwrite_changes_of_beat(make):
    opened = make(due=1)
    fire_due("default")
    opened.description = "new words"
    opened.save()
    assert fire_due("default") == 0
    assert Schedule.objects.get().run_count == 1
    assert Schedule.objects.get().description == "new words"


@pytest.mark.parametrize(
    ("missed", "runs", "skipped"), [("latest", 1, 10), ("skip", 0, 11), ("all", 11, 0)]
)
def test_missed_ticks(make, missed, runs, skipped):
    schedule = make(due=36_100, missed=missed)
    ticks = [schedule.next_run_at + n * HOUR for n in range(11)]
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.run_count, schedule.skipped_count) == (runs, skipped)
    found = list(Job.objects.order_by("run_at").values_list("run_at", flat=True))
    assert found == (ticks[-runs:] if runs else [])
    assert schedule.next_run_at == ticks[-1] + HOUR


def test_tick_a_moment_late_is_not_missed(make):
    make(due=30, missed="skip")
    fire_due("default")
    assert Job.objects.count() == 1


def test_all_missed_ticks_up_to_the_limit(make):
    schedule = make(due=36_100, missed="all", missed_limit=3)
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.run_count, schedule.skipped_count) == (3, 8)


def test_tick_past_its_starting_deadline_does_not_run(make):
    make(due=1_500, deadline_seconds=1_000)
    in_time = make(due=900, deadline_seconds=1_000)
    fire_due("default")
    assert Job.objects.get().schedule_id == in_time.pk


def test_overlap_is_skipped_and_counted_until_the_previous_run_has_ended(make, lapse, work):
    schedule = make(due=1, overlap="skip")
    fire_due("default")
    lapse(3600)
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.run_count, schedule.skipped_count) == (1, 1)
    work()
    lapse(3600)
    fire_due("default")
    assert Job.objects.count() == 2


def test_overlap_is_allowed_by_default(make, lapse):
    make(due=1)
    fire_due("default")
    lapse(3600)
    fire_due("default")
    assert Job.objects.count() == 2


def test_missed_ticks_of_a_schedule_without_overlap_run_one(make):
    schedule = make(due=7300, missed="all", overlap="skip")
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.run_count, schedule.skipped_count) == (1, 2)


def test_jitter_is_the_same_for_every_beat(make):
    schedule = make(due=1, jitter_seconds=36_000)
    tick = schedule.next_run_at
    fire_due("default")
    job = Job.objects.get()
    assert job.status == Status.SCHEDULED
    assert tick < job.run_at < tick + datetime.timedelta(seconds=36_000)
    moved = job.run_at
    job.delete()
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=tick)
    fire_due("default")
    assert Job.objects.get().run_at == moved


def test_one_off_runs_once(make):
    schedule = make(due=1, one_off=True)
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.next_run_at, schedule.run_count) == (False, None, 1)


def test_clocked_runs_once_at_its_time(make):
    at = timezone.now() + HOUR
    schedule = make(kind="clocked", clocked_at=at)
    assert schedule.next_run_at == at
    Schedule.objects.update(next_run_at=timezone.now())
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.next_run_at, schedule.run_count) == (False, None, 1)


def test_clocked_time_of_the_past_never_fires(make):
    schedule = make(kind="clocked", clocked_at=timezone.now() - HOUR)
    assert (schedule.enabled, schedule.next_run_at) == (False, None)
    assert fire_due("default") == 0


def test_schedule_ends(make):
    schedule = make(due=1, ends_at=timezone.now() + datetime.timedelta(minutes=1))
    assert schedule.enabled is False  # its first tick would come after the end
    schedule = make(ends_at=timezone.now() + 1.5 * HOUR)
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=timezone.now())
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.run_count) == (True, 1)
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=timezone.now() + 0 * HOUR)
    Schedule.objects.filter(pk=schedule.pk).update(ends_at=timezone.now() + 0.5 * HOUR)
    fire_due("default")
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.run_count) == (False, 2)


def test_interval_is_counted_from_the_start(make):
    start = timezone.now().replace(microsecond=0) + datetime.timedelta(days=3)
    assert make(starts_at=start).next_run_at == start
    past = timezone.now().replace(microsecond=0) - datetime.timedelta(minutes=90)
    assert make(starts_at=past).next_run_at == past + 2 * HOUR


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"job_name": "tests.jobs.gone"},
            "UnknownJob: No job function is named 'tests.jobs.gone'.",
        ),
        ({"args": []}, "missing a required argument: 'a'"),
        ({"args": {"a": 1}}, "ValueError: args must be a JSON array"),
        ({"kwargs": [1]}, "ValueError: kwargs must be a JSON object"),
        ({"queue": "@"}, "ValueError: queue must not begin with"),
        ({"headers": [1]}, "ValueError: headers must be a JSON object"),
    ],
)
def test_schedule_that_cannot_run_says_why_and_moves_on(make, fields, error):
    broken, sound = make(due=2, **fields), make(due=1)
    assert fire_due("default") == 2
    assert Job.objects.get().schedule_id == sound.pk
    broken.refresh_from_db()
    assert error in broken.last_error
    assert (broken.enabled, broken.run_count, broken.skipped_count) == (True, 0, 1)
    assert broken.next_run_at > timezone.now()


def test_schedule_for_a_queue_of_another_database_keeps_no_other_from_firing(make, settings):
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    broken, sound = make(due=2, queue="reports"), make(due=1)
    assert fire_due("default") == 2
    assert Job.objects.get().schedule_id == sound.pk
    broken.refresh_from_db()
    assert "Queue 'reports' lives on database 'reports'" in broken.last_error
    assert broken.next_run_at > timezone.now()


def test_unexpected_error_of_one_schedule_does_not_stop_the_others(make, monkeypatch):
    from django_jobs.enqueue import insert

    def refuse(queue: str, *_: object) -> None:
        if queue == "cursed":
            raise RuntimeError("what is this")

    monkeypatch.setattr(insert, "refuse_when_full", refuse)
    broken, sound = make(due=2, queue="cursed"), make(due=1)
    assert fire_due("default") == 2
    assert Job.objects.get().schedule_id == sound.pk
    broken.refresh_from_db()
    assert broken.last_error == "RuntimeError: what is this"


def test_unexpected_error_in_the_times_disables_the_schedule(make, monkeypatch):
    from django_jobs.beat import decision

    due_ticks = decision.due_ticks

    def cursed(schedule: Schedule, *args: object) -> object:
        if schedule == broken:
            raise RuntimeError("what is this")
        return due_ticks(schedule, *args)

    monkeypatch.setattr(decision, "due_ticks", cursed)
    broken, sound = make(due=2), make(due=1)
    assert fire_due("default") == 2
    assert Job.objects.get().schedule_id == sound.pk
    broken.refresh_from_db()
    assert (broken.enabled, broken.last_error) == (False, "disabled: what is this")


def test_error_goes_when_the_schedule_runs_again(make):
    schedule = make(due=1)
    Schedule.objects.update(last_error="old")
    fire_due("default")
    schedule.refresh_from_db()
    assert schedule.last_error == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "crontab", "crontab": "61 * * * *"},
        {"kind": "crontab", "crontab": "0 0 * * *", "timezone": "Mars/Olympus"},
        {"kind": "interval", "interval_seconds": None},
        {"kind": "interval", "interval_seconds": 0},
        {"kind": "interval", "interval_seconds": 1e300},
        {"kind": "clocked", "clocked_at": None},
        {"kind": "solar", "solar_event": "sunrise"},
        {"kind": "never"},
    ],
)
def test_times_edited_into_nonsense_disable_the_schedule(make, fields):
    schedule = make(due=1)
    Schedule.objects.filter(pk=schedule.pk).update(**fields)
    sound = make(due=1)
    fire_due("default")
    assert Job.objects.filter(schedule_id=sound.pk).count() == 1
    never = make(**fields)
    for row in (schedule, never):
        row.refresh_from_db()
        if fields["kind"] == "clocked" and row == schedule:
            continue  # it has fired, and has no next tick
        assert row.enabled is False
        assert row.last_error.startswith("disabled: ")


def test_one_off_that_cannot_run_is_not_used_up(make):
    schedule = make(due=1, one_off=True, job_name="tests.jobs.gone")
    fire_due("default")
    schedule.refresh_from_db()
    assert schedule.enabled is True


def test_full_queue_skips_the_tick(make, settings):
    settings.DJANGO_JOBS = {"QUEUES": {"small": {"MAX_PENDING": 1}}}
    first, second = make(due=2, queue="small"), make(due=1, queue="small")
    other = make(due=1)
    assert fire_due("default") == 3
    assert set(Job.objects.values_list("schedule_id", flat=True)) == {first.pk, other.pk}
    second.refresh_from_db()
    assert second.last_error.startswith("QueueFull: ")
    assert second.skipped_count == 1


def test_unique_job_that_is_live_is_skipped(make, registered, lapse):
    from django_jobs import job

    @job(name="only_one", unique=True)
    def only_one() -> None: ...

    schedule = make(due=1, job_name="only_one", args=[])
    fire_due("default")
    lapse(3600)
    fire_due("default")
    schedule.refresh_from_db()
    assert Job.objects.count() == 1
    assert (schedule.run_count, schedule.skipped_count) == (1, 1)
    with pytest.raises(JobsError, match="is live"):
        run_now(schedule)


def test_database_that_refuses_one_job_takes_the_others(make, registered, monkeypatch):
    from django_jobs.beat import decision
    from django_jobs.values import NewJob

    refused, sound = make(due=2), make(due=1)
    row_of_tick = decision.row_of_tick

    def row(schedule: Schedule, *args: object) -> NewJob:
        made = row_of_tick(schedule, *args)
        # A unique key that is already held.
        return made._replace(id=taken) if schedule == refused else made

    taken = uuid.uuid4()
    Job.objects.create(id=taken, name=ADD, queue="q", status="SUCCESS", enqueued_at=timezone.now())
    monkeypatch.setattr(decision, "row_of_tick", row)
    assert fire_due("default") == 2
    assert Job.objects.filter(schedule_id=sound.pk).count() == 1
    refused.refresh_from_db()
    assert "IntegrityError" in refused.last_error
    assert refused.next_run_at > timezone.now()


def test_run_now_runs_beside_the_ticks(make):
    schedule = make()
    job_id = run_now(schedule)
    job = Job.objects.get(pk=job_id)
    assert (job.schedule_id, job.status, job.run_at) == (schedule.pk, Status.PENDING, None)
    before = schedule.next_run_at
    schedule.refresh_from_db()
    assert (schedule.run_count, schedule.next_run_at) == (1, before)
    assert schedule.last_job_id == job_id


def test_skip_next_leaves_one_tick_out(make):
    schedule = make()
    tick = schedule.next_run_at
    assert skip_next([schedule.pk]) == [schedule.pk]
    schedule.refresh_from_db()
    assert schedule.next_run_at == tick + HOUR
    assert schedule.skipped_count == 1


def test_firing_costs_the_due_ones_not_all(make):
    """Ten thousand schedules: as many statements for two due ones as with two in all."""

    def statements() -> int:
        Schedule.objects.filter(pk__in=wanted).update(next_run_at=timezone.now())
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert fire_due("default") == 2
        return len(captured)

    wanted = [make().pk, make().pk]
    few = statements()
    row = make()
    Schedule.objects.bulk_create(
        Schedule(
            name=f"many {n}",
            job_name=ADD,
            kind="interval",
            interval_seconds=60,
            next_run_at=row.next_run_at,
        )
        for n in range(10_000)
    )
    assert statements() == few <= 8


@pytest.mark.django_db(transaction=True)  # MariaDB commits before it analyses a table
def test_due_ones_are_found_through_the_index(make, vendor):
    make(due=1)
    Schedule.objects.bulk_create(
        Schedule(name=f"many {n}", job_name=ADD, kind="interval", interval_seconds=60,
                 next_run_at=timezone.now() + HOUR)
        for n in range(2_000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        if vendor == "postgresql":
            cursor.execute("ANALYZE django_jobs_schedule")
        if vendor == "mysql":
            cursor.execute("ANALYZE TABLE django_jobs_schedule")
            cursor.fetchall()
    query = Schedule.objects.filter(enabled=True, next_run_at__lte=timezone.now())
    plan_text = query.order_by("next_run_at")[:500].explain()
    assert "django_jobs_schedule_next" in plan_text


@pytest.mark.django_db(transaction=True)
def test_many_beats_fire_each_tick_once(make):
    """Four beats with connections of their own race for ticks that are due all the time."""
    for n in range(20):
        make(due=30 + n, interval_seconds=0.1, missed="all", missed_limit=5)
    errors: list[BaseException] = []
    fired: list[int] = []

    def race() -> None:
        own_connection("default")
        try:
            while sum(fired) < 300 and not errors:
                fired.append(fire_due("default"))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    ticks = list(Job.objects.values_list("schedule_id", "run_at"))
    assert len(ticks) == len(set(ticks)) >= 300
    for schedule in Schedule.objects.all():
        assert schedule.run_count == sum(one == schedule.pk for one, _tick in ticks)


def test_schedule_that_another_beat_moved_is_left_alone(make, monkeypatch):
    """The compare-and-set alone keeps a tick from firing twice, also where no lock helps."""
    schedule = make(due=1)
    stale = Schedule.objects.annotate(now=fire.clock("default")).get(pk=schedule.pk)
    fire_due("default")
    firing = fire.decide(stale, fire.now_of(stale), overlaps=False)
    with pytest.raises(fire._Overtaken):
        fire._advance([firing], "default")


def test_first_tick_is_after_now_at_the_very_moment():
    now = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)
    schedule = Schedule(kind="crontab", crontab="0 12 * * *", timezone="UTC")
    assert first_tick(schedule, now) == now + 24 * HOUR


@pytest.mark.django_db(transaction=True)
def test_step_is_repeated_at_once_after_a_conflict(monkeypatch, caplog):
    beat, steps = Beat("default"), []

    def step():
        steps.append(len(steps))
        if len(steps) == 1:
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return 0.0

    monkeypatch.setattr(beat, "step", step)
    beat.turn()
    assert steps == [0, 1]
    assert not caplog.messages
