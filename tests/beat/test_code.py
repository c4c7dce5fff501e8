"""Schedules of the code are written to rows; operators' changes are kept."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone

from django_jobs import add_periodic_task, checks, crontab, job, solar
from django_jobs.beat.sync import synchronize
from django_jobs.control.schedules import disable, enable
from django_jobs.define import schedule_spec
from django_jobs.models import Schedule
from tests.jobs import add

NOW = timezone.now()
pytestmark = pytest.mark.django_db


@pytest.fixture
def periodic():
    before = list(schedule_spec.periodic_tasks)
    yield schedule_spec.periodic_tasks
    schedule_spec.periodic_tasks[:] = before


def wanted(settings: Any, **entry: Any) -> dict[str, Any]:
    settings.DJANGO_JOBS = {
        "SCHEDULES": {"sum": {"job": "tests.jobs.add", "schedule": 30, "args": (1, 2)} | entry}
    }


def row() -> Schedule:
    synchronize("default")
    return Schedule.objects.get(name="sum")


def test_schedules_with_long_arguments_become_rows(settings: Any) -> None:
    # Together they are more than MariaDB takes in a statement.
    entry = {"job": "tests.jobs.add", "schedule": 30, "args": ("x" * 250_000, 2)}
    settings.DJANGO_JOBS = {"SCHEDULES": {f"s{number}": entry for number in range(70)}}
    synchronize("default")
    assert Schedule.objects.count() == 70


def test_schedule_of_a_job_becomes_a_row(registered):
    @job(name="nightly", schedule=crontab(hour=3, minute=0, timezone="Europe/Berlin"))
    def nightly() -> None: ...

    before = timezone.now()
    synchronize("default")
    schedule = Schedule.objects.get(name="nightly")
    assert (schedule.job_name, schedule.kind, schedule.crontab) == (
        "nightly",
        "crontab",
        "0 3 * * *",
    )
    assert (schedule.timezone, schedule.source) == ("Europe/Berlin", "code")
    # The tick may have passed since it was planned, at 03:00.
    assert schedule.next_run_at > before


def test_schedule_of_a_job_may_say_more(registered):
    @job(name="nightly", schedule={"schedule": 60, "overlap": "skip"})
    def nightly() -> None: ...

    synchronize("default")
    assert Schedule.objects.get(name="nightly").overlap == "skip"


@pytest.mark.parametrize(
    "schedule",
    [
        30,
        {"schedule": 30},
        {"schedule": 30, "args": [1, 2]},
        {"schedule": 30, "kwargs": {"b": 1}},
        {"schedule": 30, "args": [1], "kwargs": {"a": 1}},
    ],
)
def test_schedule_of_a_job_gives_arguments_that_fit(registered, schedule):
    with pytest.raises(ImproperlyConfigured, match="schedule= gives arguments that do not fit"):

        @job(name="needy", schedule=schedule)
        def needy(a: int) -> None: ...


@pytest.mark.parametrize(
    ("entry", "args", "kwargs"),
    [
        ({"args": ["x"]}, ["x"], {}),
        ({"args": ("x", 2)}, ["x", 2], {}),
        ({"kwargs": {"a": "x"}}, [], {"a": "x"}),
        ({"args": ["x"], "kwargs": {"b": 2}}, ["x"], {"b": 2}),
        ({"args": None, "kwargs": {"a": "x"}}, [], {"a": "x"}),
    ],
)
def test_schedule_of_a_job_has_its_arguments(registered, entry, args, kwargs):
    @job(name="named", schedule={"schedule": 3600, **entry})
    def named(a: str, b: int = 0) -> None: ...

    synchronize("default")
    schedule = Schedule.objects.get(name="named")
    assert (schedule.args, schedule.kwargs, schedule.last_error) == (args, kwargs, "")
    assert schedule.next_run_at is not None


@pytest.mark.parametrize("place", ["job", "setting", "call"])
@pytest.mark.parametrize("entry", [{"args": "x"}, {"args": 3}, {"kwargs": 3}, {"kwargs": ["a"]}])
def test_arguments_that_are_no_list_or_dict_are_refused(
    registered, periodic, settings, place, entry
):
    if place == "call" and "kwargs" in entry:
        with pytest.raises(TypeError, match="mapping"):
            entered(place, 30, settings, **entry)
        return
    with pytest.raises(AssertionError, match=r"must be a (list|dict) of arguments, got"):
        entered(place, 30, settings, **entry)


MOMENT = datetime.datetime(2100, 1, 1, 12, tzinfo=datetime.UTC)
#: Every option that docs/schedules.rst lists: what is written, and what the row has.
OPTIONS = [
    ("args", [1], [1]),
    ("kwargs", {"b": 2}, {"b": 2}),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("description", "sums", "sums"),
    ("enabled", False, False),
    ("one_off", True, True),
    ("starts_at", MOMENT, MOMENT),
    ("ends_at", MOMENT, MOMENT),
    ("jitter_seconds", datetime.timedelta(seconds=5), 5.0),
    ("missed", "all", "all"),
    ("missed_limit", 7, 7),
    ("deadline_seconds", 60, 60),
    ("overlap", "skip", "skip"),
    ("queue", "vip", "vip"),
    ("priority", 3, 3),
    ("expires_seconds", 60, 60),
    ("expires", datetime.timedelta(minutes=1), 60.0),
    ("headers", {"a": 1}, {"a": 1}),
]
#: Every form of a time that docs/schedules.rst lists, and what the row has.
TIMES = [
    (30.0, "interval_seconds", 30.0),
    (30, "interval_seconds", 30.0),
    (datetime.timedelta(minutes=1), "interval_seconds", 60.0),
    (crontab(hour=3, minute=0), "crontab", "0 3 * * *"),
    (crontab(day_of_week="mon-fri", month_of_year=[1, 6]), "crontab", "* * * 1,6 mon-fri"),
    ("0 3 * * *", "crontab", "0 3 * * *"),
    ("@daily", "crontab", "@daily"),
    (solar("sunrise", 52, 13), "solar_event", "sunrise"),
    (MOMENT, "clocked_at", MOMENT),
]
PLACES = pytest.mark.parametrize("place", ["job", "setting", "call", "options"])


def entered(place: str, schedule: Any, settings: Any, **entry: Any) -> Schedule:
    """Write a schedule in one of the places for it; return its row."""

    def summed(a: int = 0, b: int = 0) -> None: ...

    if place == "job":
        job(name="sum", schedule={"schedule": schedule, **entry})(summed)
    elif place == "call":
        add_periodic_task(schedule, job(name="summed")(summed), name="sum", **entry)
    else:
        job(name="summed")(summed)
        arguments = {key: entry.pop(key) for key in ("args", "kwargs") if key in entry}
        rest = {"options": entry} if place == "options" else entry
        written = {"task": "summed", "schedule": schedule, **arguments, **rest}
        settings.DJANGO_JOBS = {"SCHEDULES": {"sum": written}}
    assert checks.check_schedules(None) == []
    return row()


@PLACES
@pytest.mark.parametrize(("option", "written", "kept"), OPTIONS, ids=[o[0] for o in OPTIONS])
def test_every_documented_option_is_taken(
    registered, periodic, settings, place, option, written, kept
):
    schedule = entered(place, 30, settings, **{option: written})
    assert getattr(schedule, "expires_seconds" if option == "expires" else option) == kept


@PLACES
@pytest.mark.parametrize(("written", "column", "kept"), TIMES, ids=range(len(TIMES)))
def test_every_documented_time_is_taken(
    registered, periodic, settings, place, written, column, kept
):
    if column == "solar_event":
        pytest.importorskip("astral")
    schedule = entered(place, written, settings)
    assert getattr(schedule, column) == kept
    assert schedule.next_run_at is not None


def test_setting_is_celerys(settings):
    settings.TIME_ZONE = "Asia/Kathmandu"
    settings.DJANGO_JOBS = {
        "SCHEDULES": {
            "sum": {
                "task": "tests.jobs.add",
                "schedule": datetime.timedelta(minutes=5),
                "args": (1,),
                "kwargs": {"b": 2},
                "options": {"queue": "vip", "priority": 3, "expires": 60},
            }
        }
    }
    schedule = row()
    assert (schedule.interval_seconds, schedule.args, schedule.kwargs) == (300, [1], {"b": 2})
    assert (schedule.queue, schedule.priority, schedule.expires_seconds) == ("vip", 3, 60)
    assert schedule.timezone == "Asia/Kathmandu"


def test_periodic_tasks_become_rows(periodic):
    add_periodic_task(30.0, add.s(1, b=2).set(queue="vip"), name="signed")
    with pytest.raises(ValueError, match="one job function"):
        add_periodic_task(30.0, add.s(1) | add.s(2))
    add_periodic_task(crontab(minute=5), add, args=(1, 2), expires=10)
    add_periodic_task(solar("sunset", 52.5, 13.4), "tests.jobs.add", kwargs={"a": 1}, name="dark")
    synchronize("default")
    signed, plain = Schedule.objects.get(name="signed"), Schedule.objects.get(name=add.name)
    assert (signed.args, signed.kwargs, signed.queue) == ([1], {"b": 2}, "vip")
    assert (plain.crontab, plain.args, plain.expires_seconds) == ("5 * * * *", [1, 2], 10)
    assert Schedule.objects.get(name="dark").solar_event == "sunset"


def test_deploy_that_changes_nothing_writes_nothing(settings):
    wanted(settings)
    before = row()
    after = row()
    assert (after.updated_at, after.next_run_at) == (before.updated_at, before.next_run_at)


def test_deploy_changes_the_row(settings):
    wanted(settings)
    row()
    wanted(settings, schedule=3600, description="hourly")
    schedule = row()
    assert (schedule.interval_seconds, schedule.description) == (3600, "hourly")
    assert schedule.next_run_at > timezone.now() + datetime.timedelta(minutes=59)


def test_operators_change_is_kept(settings):
    wanted(settings)
    disable([row().pk])
    wanted(settings, schedule=3600)
    schedule = row()
    assert (schedule.enabled, schedule.interval_seconds, schedule.source) == (False, 30, "changed")


def test_schedule_that_leaves_the_code_is_disabled_until_it_returns(settings):
    wanted(settings)
    row()
    settings.DJANGO_JOBS = {}
    schedule = row()
    assert (schedule.enabled, schedule.source) == (False, "gone")
    wanted(settings)
    schedule = row()
    assert (schedule.enabled, schedule.source) == (True, "code")
    assert schedule.next_run_at is not None


def test_operator_may_keep_a_schedule_that_left_the_code(settings):
    wanted(settings)
    row()
    settings.DJANGO_JOBS = {}
    enable([row().pk])
    schedule = row()
    assert (schedule.enabled, schedule.source) == (True, "admin")


def test_schedules_made_by_hand_are_left_alone(make):
    schedule = make()
    synchronize("default")
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.source) == (True, "admin")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"job": "tests.jobs.gone"}, "No job function is named 'tests.jobs.gone'."),
        ({"schedule": "61 * * * *"}, "crontab '61 * * * *': minute '61'"),
        ({"schedule": None}, "A schedule must be seconds"),
        ({"args": ()}, "tests.jobs.add"),
        ({"color": 1}, "Unknown option color. Allowed: job, schedule, options, args"),
        ({"missed": "never"}, "missed must be one of skip, latest, all"),
        ({"timezone": "Mars"}, "timezone must be an IANA name"),
        ({"jitter_seconds": -1}, "jitter_seconds must be seconds from 0"),
        ({"queue": "@"}, "queue must not begin with"),
        ({"priority": 1e9}, "priority must be a whole number"),
        ({"missed_limit": 0}, "missed_limit must be from 1 to 1000"),
        ({"starts_at": NOW, "ends_at": NOW}, "ends_at must be later"),
    ],
)  # fmt: skip
def test_wrong_entry_is_a_system_check_and_stops_nothing(settings, entry, message):
    wanted(settings, **entry)
    found = [error.msg for error in checks.check_schedules(None)]
    assert any("['sum']" in text and message in text for text in found), found
    synchronize("default")
    assert not Schedule.objects.filter(name="sum").exists()


@pytest.mark.parametrize("where", ["entry", "route", "function"])
def test_queue_of_another_database_is_a_system_check(settings, where):
    entry = {"job": "tests.jobs.send", "args": [1]} if where == "function" else {}
    wanted(settings, **entry, **({"queue": "mail"} if where == "entry" else {}))
    queues = {"mail": {"DATABASE": "reports"}}
    routes = {"tests.jobs.add": {"queue": "mail"}} if where == "route" else {}
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "QUEUES": queues, "ROUTES": routes}
    (error,) = checks.check_schedules(None)
    assert "Queue 'mail' lives on database 'reports'" in error.msg


def test_two_entries_with_one_name_are_a_system_check(settings, periodic):
    wanted(settings)
    add_periodic_task(10, add, args=(1,), name="sum")
    (error,) = checks.check_schedules(None)
    assert "another schedule in code has this name" in error.msg


def test_migrate_writes_the_rows(settings):
    wanted(settings)
    call_command("migrate", verbosity=0)
    assert Schedule.objects.filter(name="sum", source="code").exists()


@pytest.mark.parametrize("value", [1.5, None, [], "", "  ", True, iter(())])
@pytest.mark.parametrize("field", ["minute", "hour", "day_of_week"])
def test_error_names_the_invalid_field_of_a_crontab(field, value):
    with pytest.raises(
        ValueError, match=rf"crontab\({field}=\) must be a number, a text or several"
    ):
        crontab(**{field: value})
