"""Django's signals of tasks are sent where a task is enqueued, begins and ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_jobs import signals
from django_jobs.contrib.django_tasks import DatabaseBackend
from django_jobs.exceptions import JobFailed
from django_jobs.models import Job
from tests import jobs, tasks
from tests.task_names import task_enqueued, task_finished, task_started

pytestmark = [pytest.mark.once, pytest.mark.django_db]

NAMES = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}


@pytest.fixture
def told() -> Iterator[list[tuple[str, str, str]]]:
    """The signals that were sent: which, of which task, with which status."""
    found: list[tuple[str, str, str]] = []
    receivers = []
    for name, signal in NAMES.items():

        def receive(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            assert sender is DatabaseBackend
            found.append((name, task_result.task.name, str(task_result.status)))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield found
    for signal, receive in receivers:
        signal.disconnect(receive)


def test_task_tells_of_its_life(told: list[Any], drain: Callable[..., Any]) -> None:
    tasks.plus.enqueue(1)
    assert told == [("enqueued", "plus", "READY")]
    drain()
    assert told[1:] == [("started", "plus", "RUNNING"), ("finished", "plus", "SUCCESSFUL")]


def test_each_attempt_starts_and_the_last_one_finishes(told: list[Any], drain: Any) -> None:
    tasks.tell_again.enqueue()
    for _attempt in range(3):
        drain()
        Job.objects.filter(status="RETRY").update(status="PENDING", ready_at=timezone.now())
    assert [name for name, _task, _status in told] == ["enqueued", *["started"] * 3, "finished"]


def test_failure_and_revoke_are_ends(
    told: list[Any], drain: Any, django_capture_on_commit_callbacks: Any
) -> None:
    tasks.collapse.enqueue()
    drain()
    assert told[-1] == ("finished", "collapse", "FAILED")
    with django_capture_on_commit_callbacks(execute=True):
        tasks.plus.enqueue(1).cancel()  # type: ignore[attr-defined]
    assert told[-1] == ("finished", "plus", "FAILED")


def test_failure_is_being_handled_when_it_is_told(drain: Any) -> None:
    """Django's own receiver and those of error trackers log ``sys.exc_info()``."""
    handled: list[BaseException | None] = []

    def receive(**_: Any) -> None:
        handled.append(sys.exc_info()[1])

    task_finished.connect(receive)
    tasks.plus.enqueue(1)
    tasks.collapse.enqueue("nope")
    drain()
    task_finished.disconnect(receive)
    assert handled[0] is None
    assert isinstance(handled[1], JobFailed)
    assert str(handled[1]) == "builtins.ValueError: nope"
    assert handled[1].traceback.startswith("Traceback")


def test_message_of_a_failure_is_that_of_its_exception(drain: Any) -> None:
    """The last line of a traceback is a part of the message, or a note."""
    handled: list[BaseException | None] = []

    def receive(**_: Any) -> None:
        handled.append(sys.exc_info()[1])

    task_finished.connect(receive)
    tasks.collapse.enqueue("first: line\nlast: line")
    tasks.annotate.enqueue(password="hunter2")
    drain()
    task_finished.disconnect(receive)
    several, noted = map(str, handled)
    assert several == "builtins.ValueError: first: line\nlast: line"
    assert noted == "builtins.ValueError: wrong: ********"


def test_jobs_that_are_no_tasks_send_nothing(told: list[Any], drain: Any) -> None:
    jobs.add.delay(1)
    drain()
    assert told == []
    assert not signals.is_heard(signals.job_success, "tests.jobs.add")


def test_slot_waits_for_the_record_only_if_somebody_listens() -> None:
    """Django's own receiver of the signal writes a line of the log, which can come later."""

    def receive(**_: Any) -> None: ...

    assert not signals.is_heard(signals.job_success, "tests.tasks.plus")
    task_finished.connect(receive)
    assert signals.is_heard(signals.job_success, "tests.tasks.plus")
    assert not signals.is_heard(signals.job_success, "tests.jobs.add")
    task_finished.disconnect(receive)


def test_eager_task_tells_in_the_order_of_its_life(told: list[Any], settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    tasks.plus.enqueue(1)
    assert [name for name, _task, _status in told] == ["enqueued", "started", "finished"]


def test_result_in_a_signal_has_the_row_and_the_value(drain: Any) -> None:
    seen = {}

    def receive(task_result: Any, **_: Any) -> None:
        seen[task_result.id] = (task_result.return_value, task_result.args,
                                task_result.enqueued_at is not None)  # fmt: skip

    task_finished.connect(receive)
    result = tasks.plus.enqueue(1, 2)
    drain()
    task_finished.disconnect(receive)
    assert seen == {result.id: (3, [1, 2], True)}


def test_failing_receiver_changes_nothing_and_shows_no_argument(
    drain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2"

    def receive(signal: Any, **_: Any) -> None:
        if signal is not task_enqueued:
            raise ValueError(secret)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT nothing FROM nowhere -- {secret}")

    for signal in NAMES.values():
        signal.connect(receive)
    with caplog.at_level(logging.ERROR, "django_jobs"), transaction.atomic():
        result = tasks.plus.enqueue(1)
        assert Job.objects.filter(pk=result.id).exists()
    drain()
    for signal in NAMES.values():
        signal.disconnect(receive)
    result.refresh()
    assert result.return_value == 1
    failed = [line for line in caplog.messages if "receiver failed name=tests.tasks.plus" in line]
    assert len(failed) == 3
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("level", "lines"), [(logging.DEBUG, 1), (logging.INFO, 0)])
def test_django_s_own_line_of_an_enqueue_is_written(
    caplog: pytest.LogCaptureFixture, level: int, lines: int
) -> None:
    name = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    with caplog.at_level(level, name):
        result = tasks.plus.enqueue(1)
    assert [record.name for record in caplog.records if result.id in record.getMessage()] == (
        [name] * lines
    )
