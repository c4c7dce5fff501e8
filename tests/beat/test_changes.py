"""A schedule gets a new next run when its times change, by any way of changing them."""

from __future__ import annotations

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs.beat.fire import fire_due
from django_jobs.beat.loop import Beat
from django_jobs.define.schedule_spec import crontab
from django_jobs.models import Job, Schedule
from django_jobs.schedules.planning import plan, plan_changed
from django_jobs.schedules.ticks import zone_of
from tests.beat.conftest import ADD

pytestmark = pytest.mark.django_db

# Half a day lies between the tests and this tick, so none of them meets it.
TICK = timezone.now().replace(second=0, microsecond=0) + datetime.timedelta(hours=12)
NEW = f"{TICK.minute} {TICK.hour} * * *"
CRONTAB = {"kind": "crontab", "interval_seconds": None, "timezone": "UTC"}


def _save(schedule):
    schedule.crontab = NEW
    schedule.save()


def _save_one_field(schedule):
    schedule.crontab = NEW
    schedule.save(update_fields=["crontab"])


def _save_what_was_loaded(schedule):
    part = Schedule.objects.only("crontab").get(pk=schedule.pk)
    part.crontab = NEW
    part.save()


def _update_or_create(schedule):
    Schedule.objects.update_or_create(name=schedule.name, defaults={"crontab": NEW})


def _update(schedule):
    Schedule.objects.filter(pk=schedule.pk).update(crontab=NEW)


def _bulk_update(schedule):
    schedule.crontab = NEW
    Schedule.objects.bulk_update([schedule], ["crontab"])


def _bulk_create(schedule):
    new = Schedule(name=schedule.name, job_name=ADD, crontab=NEW, **CRONTAB)
    unique = [] if connection.vendor == "mysql" else ["name"]
    Schedule.objects.bulk_create(
        [new], update_conflicts=True, update_fields=["crontab"], unique_fields=unique
    )


def _sql(schedule):
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {Schedule._meta.db_table} SET crontab = %s WHERE id = %s",
            [NEW, schedule.pk],
        )


WAYS = [
    _save, _save_one_field, _save_what_was_loaded, _update_or_create, _update, _bulk_update,
    _bulk_create, _sql,
]  # fmt: skip


@pytest.mark.parametrize("change", WAYS)
def test_changed_times_give_a_new_next_run(make, change):
    schedule = make(crontab="0 0 1 1 *", **CRONTAB)
    change(schedule)
    Beat("default").step()
    assert Schedule.objects.get().next_run_at == TICK


@pytest.mark.parametrize("change", WAYS)
def test_tick_of_the_old_times_does_not_fire(make, change):
    schedule = make(crontab="* * * * *", **CRONTAB)
    _let_it_be_due(schedule)
    change(schedule)
    while fire_due("default") or plan("default"):
        continue
    assert not Job.objects.exists()
    assert Schedule.objects.get().next_run_at == TICK


def _let_it_be_due(schedule):
    """Write a tick that beat itself planned."""
    minute = timezone.now().replace(second=0, microsecond=0)
    rows = Schedule.objects.filter(pk=schedule.pk)
    rows.update(next_run_at=minute, planned_for=schedule.planned_for)
    schedule.refresh_from_db()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows, moment: rows.update(next_run_at=moment),
        lambda rows, moment: rows.update(next_run_at=moment, crontab=NEW),
        lambda rows, moment: rows.update_or_create(
            name="s0", defaults={"next_run_at": moment, "crontab": NEW}
        ),
    ],
    ids=["update", "update with the times", "update_or_create with the times"],
)
def test_next_run_set_by_hand_holds(make, change):
    make(crontab="0 0 1 1 *", **CRONTAB)
    moment = timezone.now().replace(microsecond=0) + datetime.timedelta(hours=1)
    change(Schedule.objects, moment)
    assert [plan_changed("default"), plan_changed("default")] == [0, 0]
    assert Schedule.objects.get().next_run_at == moment
    Schedule.objects.update(crontab="0 5 * * *")
    assert plan_changed("default") == 1
    assert Schedule.objects.get().next_run_at.hour == 5


def test_next_run_set_in_the_object_is_saved(make):
    schedule = make()
    schedule.next_run_at = moment = timezone.now() + datetime.timedelta(hours=9)
    schedule.save()
    plan_changed("default")
    assert Schedule.objects.get().next_run_at == moment


def test_interval_that_is_written_again_goes_on(make):
    schedule = make()
    Schedule.objects.update_or_create(name="s0", defaults={"interval_seconds": 3600.0})
    Schedule.objects.update(interval_seconds=3600.0, description="new words")
    assert plan_changed("default") == 0
    assert Schedule.objects.get().next_run_at == schedule.next_run_at


def test_part_of_a_schedule_is_saved_without_reading_the_rest(make, django_assert_num_queries):
    make()
    part = Schedule.objects.only("description").get()
    part.description = "new words"
    with django_assert_num_queries(1):
        part.save()
    assert Schedule.objects.get().description == "new words"
    assert Schedule.objects.get().next_run_at is not None


def test_beat_looks_for_changes_with_one_statement_and_not_at_each_step(make):
    for _ in range(3):
        make()
    beat = Beat("default")
    beat.step()  # registers, and reads the schedules for the first time
    with CaptureQueriesContext(connection) as quiet:
        beat.step()
    with CaptureQueriesContext(connection) as look:
        assert plan_changed("default") == 0
    # One statement for unplanned schedules, one for the next tick (on SQLite with the clock).
    assert len(quiet) == 2
    assert len(look) == 1


def test_row_without_a_time_zone_has_that_of_the_settings(settings):
    settings.TIME_ZONE = "Asia/Shanghai"
    made = Schedule.objects.create(name="a", job_name=ADD, kind="crontab", crontab=NEW)
    assert made.timezone == "Asia/Shanghai"
    Schedule.objects.update(timezone="")
    plan_changed("default")
    assert zone_of(Schedule.objects.get()).key == "Asia/Shanghai"
    plan("default")
    assert Schedule.objects.get().last_error == ""


@pytest.mark.parametrize(
    ("day", "month"), [("monday", "january"), ("monday-friday", "june,july"), ("Sunday", "May")]
)
def test_names_of_days_and_months_may_be_written_out(make, day, month):
    text = crontab(0, 3, day_of_week=day, month_of_year=month).crontab
    schedule = make(kind="crontab", interval_seconds=None, crontab=text)
    assert (schedule.enabled, schedule.last_error) == (True, "")
    assert schedule.next_run_at is not None


def test_object_that_was_read_before_the_only_run_does_not_turn_it_on_again(make):
    schedule = make(due=1, one_off=True)
    fire_due("default")
    schedule.description = "Once, at the end of the year"
    schedule.save()
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.next_run_at, schedule.run_count) == (False, None, 1)
    schedule.enabled = True
    schedule.save()
    schedule.refresh_from_db()
    assert schedule.enabled
