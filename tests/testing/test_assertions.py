"""Captured jobs, and assertions about what was enqueued."""

from __future__ import annotations

import datetime
import threading
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from django_jobs import chain, chord, group, job
from django_jobs.models import Job
from django_jobs.testing import (
    JobsTestMixin,
    assert_enqueued,
    assert_not_enqueued,
    captured_jobs,
    override_jobs,
    run_jobs,
)
from tests import jobs

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("registered")]


@pytest.fixture(
    params=[
        pytest.param("rows", marks=pytest.mark.django_db),
        pytest.param("written", marks=pytest.mark.django_db),
        "unwritten",
    ]
)
def place(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let assertions look at rows, at a capture that writes, or at one that does not."""
    if request.param == "rows":
        yield
    else:
        with captured_jobs(write=request.param == "written"):
            yield


# --- captures -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_capture_has_the_calls_in_their_order() -> None:
    jobs.add.delay(0)
    with captured_jobs() as captured:
        result = jobs.add.delay(1, b=2)
        jobs.send.apply_async((3,), countdown=60, queue="slow", headers={"tenant": 4})
    jobs.add.delay(5)
    first, second = captured
    assert (first.id, first.name, first.args, first.kwargs) == (
        result.id, "tests.jobs.add", [1], {"b": 2},
    )  # fmt: skip
    assert (first.queue, first.priority, first.countdown, first.headers) == ("default", 0, None, {})
    assert (second.queue, second.priority, second.countdown) == ("slow", 5, 60)
    assert second.headers == {"tenant": 4}
    assert (len(captured), captured[-1].name) == (2, "tests.jobs.send")
    assert Job.objects.count() == 4


def test_capture_without_rows_needs_no_database() -> None:
    with captured_jobs(write=False) as captured:
        result = jobs.add.delay(1)
        jobs.add.delay_many([(2,), (3,)])
        members = group(jobs.add.s(4), jobs.add.s(5)).apply_async()
        chain(jobs.add.s(6), jobs.add.s(7)).apply_async()
        chord([jobs.add.s(8)], jobs.echo.s()).apply_async()
        jobs.add.apply_async((9,), link=jobs.echo.s())
    assert [each.args for each in captured] == [[1], [2], [3], [4], [5], [6], [7], [8], [], [9], []]
    assert result.id == captured[0].id
    assert len(members) == 2


def test_capture_without_rows_refuses_what_a_call_refuses() -> None:
    with captured_jobs(write=False) as captured:
        with pytest.raises(TypeError, match="missing a required argument"):
            jobs.add.delay()
        with pytest.raises(TypeError, match="Unknown option qeue"):
            jobs.add.apply_async((1,), qeue="a")
    assert len(captured) == 0


@pytest.mark.django_db
def test_capture_with_eager_runs_the_jobs_only_if_it_writes() -> None:
    ran: list[int] = []

    @job
    def note(number: int) -> None:
        ran.append(number)

    with override_jobs(EAGER=True):
        with captured_jobs() as captured:
            note.delay(1)
            chain(note.si(2), note.si(3)).apply_async()
        with captured_jobs(write=False) as unwritten:
            note.delay(4)
            chain(note.si(5), note.si(6)).apply_async()
    assert ran == [1, 2, 3]
    assert [each.args for each in captured] == [[1], [2], [3]]
    assert [each.args for each in unwritten] == [[4], [5], [6]]
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_captures_nest() -> None:
    with captured_jobs() as outer:
        jobs.add.delay(1)
        with captured_jobs(write=False) as inner:
            jobs.add.delay(2)
            assert_enqueued(jobs.add, count=1)
        assert_enqueued(jobs.add, count=2)
    assert [each.args for each in outer] == [[1], [2]]
    assert [each.args for each in inner] == [[2]]
    assert Job.objects.count() == 1


def test_capture_sees_other_threads() -> None:
    with captured_jobs(write=False) as captured:
        thread = threading.Thread(target=jobs.add.delay, args=(1,))
        thread.start()
        thread.join()
    assert len(captured) == 1


def test_capture_ends_with_an_error_of_its_block() -> None:
    with pytest.raises(ValueError, match="mine"), captured_jobs(write=False):
        raise ValueError("mine")
    with captured_jobs(write=False) as captured:
        jobs.add.delay(1)
    assert len(captured) == 1


@pytest.mark.django_db
def test_unique_call_that_makes_no_job_is_not_captured() -> None:
    @job(unique=True)
    def single() -> None: ...

    with captured_jobs() as captured:
        single.delay()
        single.delay()
    assert len(captured) == 1


@pytest.mark.django_db
def test_capture_has_what_jobs_enqueue() -> None:
    @job
    def outer() -> None:
        jobs.add.delay(1)

    outer.delay()
    with captured_jobs():
        run_jobs()
        assert_enqueued(jobs.add, args=[1])
        assert_not_enqueued(outer)


# --- assertions ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_job_is_found_by_each_value() -> None:
    later = timezone.now() + datetime.timedelta(hours=1)
    jobs.add.apply_async((1,), {"b": 2}, queue="slow", priority=3, countdown=60)
    jobs.echo.apply_async(((1, 2), {"a": (3,)}, datetime.date(2030, 1, 2)), eta=later)
    assert_enqueued()
    assert_enqueued(jobs.add)
    assert_enqueued("tests.jobs.add")
    assert_enqueued(jobs.add, args=[1], kwargs={"b": 2}, queue="slow", priority=3, countdown=60)
    assert_enqueued(jobs.add, args=(1,), countdown=datetime.timedelta(minutes=1))
    assert_enqueued(jobs.add, countdown=60.4)
    assert_enqueued(jobs.add, args=[mock.ANY], count=1)
    assert_enqueued(jobs.echo, args=([1, 2], {"a": (3,)}, datetime.date(2030, 1, 2)), eta=later)
    (found,) = assert_enqueued(queue="slow")
    assert (found.name, found.kwargs) == ("tests.jobs.add", {"b": 2})
    assert_enqueued(count=2)
    for wrong in (
        {"args": [2]},
        {"args": []},
        {"kwargs": {}},
        {"queue": "default"},
        {"priority": 0},
        {"countdown": 62},
        {"eta": later},
        {"count": 2},
        {"count": 0},
    ):
        with pytest.raises(AssertionError):
            assert_enqueued(jobs.add, **wrong)  # type: ignore[arg-type]


@pytest.mark.usefixtures("place")
def test_job_that_may_run_at_once_has_no_countdown() -> None:
    jobs.add.delay(1)
    with pytest.raises(AssertionError, match=r"countdown=0\.0, found 0"):
        assert_enqueued(jobs.add, countdown=0)


@pytest.mark.usefixtures("place")
def test_nothing_was_enqueued() -> None:
    assert_not_enqueued()
    assert_not_enqueued(jobs.add)
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(jobs.add, args=[1])
    assert str(caught.value) == (
        "Expected at least one job tests.jobs.add with args=[1], found 0. Nothing was enqueued."
    )


@pytest.mark.usefixtures("place")
def test_message_lists_what_was_enqueued() -> None:
    jobs.send.apply_async((7,), countdown=30)
    jobs.add.delay(1, b=2)
    assert_not_enqueued(jobs.add, args=[2])
    assert_not_enqueued(jobs.add, queue="mail")
    assert_not_enqueued(jobs.add, kwargs={})
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(jobs.add, args=[2], queue="slow", count=2)
    assert str(caught.value) == (
        "Expected 2 jobs tests.jobs.add with args=[2], queue='slow', found 0. Enqueued were:\n"
        "  tests.jobs.send args=[7] kwargs={} queue='mail' priority=5 countdown=30\n"
        "  tests.jobs.add args=[1] kwargs={'b': 2} queue='default'"
    )
    with pytest.raises(AssertionError, match=r"Expected no job tests\.jobs\.add, found 1\."):
        assert_not_enqueued(jobs.add)


def test_message_lists_the_latest_of_many() -> None:
    with captured_jobs(write=False):
        jobs.add.delay_many([(number,) for number in range(100)])
        with pytest.raises(AssertionError) as caught:
            assert_enqueued(jobs.send)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-2][:23]) == (22, "  tests.jobs.add args=[")
    assert "args=[99]" in lines[-2]
    assert lines[-1] == "  and 80 earlier ones"


@pytest.mark.usefixtures("place")
def test_message_hides_secrets() -> None:
    @job(sensitive=["code"])
    def login(code: str, *, password: str) -> None: ...

    @job(sensitive=["code"])
    def confirm(result: None, code: str) -> None: ...

    login.delay("c0de", password="hunter2")
    chain(jobs.add.s(1), login.s(password="hunter2"), confirm.s("c0de")).apply_async()
    assert_enqueued(login, args=["c0de"], kwargs={"password": "hunter2"})
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(login, args=["c1de"], kwargs={"password": "hunter3"})
    message = str(caught.value)
    assert not [secret for secret in ("c0de", "c1de", "hunter") if secret in message]


def test_capture_can_be_asked_after_its_block() -> None:
    with captured_jobs(write=False) as captured:
        jobs.add.delay(1)
    assert_enqueued(jobs.add, args=[1], among=captured)
    assert_not_enqueued(jobs.send, among=captured)
    with pytest.raises(AssertionError, match=r"Enqueued were:\n  tests\.jobs\.add"):
        assert_enqueued(jobs.send, among=captured)


@pytest.mark.django_db
def test_job_that_has_ended_was_enqueued() -> None:
    jobs.add.delay(1)
    run_jobs()
    assert_enqueued(jobs.add, args=[1], count=1)


@pytest.mark.django_db(databases=["default", "reports"])
def test_rows_of_all_databases_count(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    jobs.add.apply_async((1,), queue="reports")
    jobs.add.delay(2)
    assert_enqueued(jobs.add, count=2)


def test_capture_is_a_sequence() -> None:
    with captured_jobs(write=False) as captured:
        for number in range(3):
            jobs.add.delay(number)
    assert [each.args for each in captured[1:]] == [[1], [2]]
    assert [each.args for each in reversed(captured)] == [[2], [1], [0]]
    assert captured[-1] in captured


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"args": 5}, "args must be a list or a tuple of arguments, got an int"),
        ({"kwargs": [1]}, "kwargs must be a dict of arguments, got a list"),
    ],
)
def test_assertion_refuses_arguments_of_another_type(wrong: Any, message: str) -> None:
    with captured_jobs(write=False), pytest.raises(TypeError, match=message):
        assert_enqueued(jobs.add, **wrong)


def test_mistakes_in_assertions_are_told() -> None:
    with captured_jobs(write=False):
        with pytest.raises(ValueError, match=r"named 'tests\.jobs\.ad'\. Did you mean"):
            assert_not_enqueued("tests.jobs.ad")
        with pytest.raises(TypeError, match=r"job function or its name, got a function\."):
            assert_enqueued(jobs.add.__wrapped__)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"args must be a list or a tuple.*got a str"):
            assert_enqueued(jobs.add, args="1")
        with pytest.raises(ValueError, match="countdown must be seconds"):
            assert_enqueued(jobs.add, countdown="60")  # type: ignore[arg-type]


class Case(JobsTestMixin, unittest.TestCase):
    def test_methods(self) -> None:
        with self.captured_jobs(write=False):
            jobs.add.delay(1)
            self.assertEnqueued(jobs.add, args=[1], count=1)
            self.assertNotEnqueued(jobs.send)
            with pytest.raises(AssertionError):
                self.assertNotEnqueued(jobs.add)

    @pytest.mark.django_db
    def test_running(self) -> None:
        jobs.add.delay(1)
        assert len(self.run_jobs()) == 1
