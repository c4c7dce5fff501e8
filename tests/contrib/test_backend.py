"""Tasks of ``django.tasks`` are jobs: they are enqueued, run and read as Django documents it."""

from __future__ import annotations

import datetime
import json
import pickle
from collections.abc import Callable
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import Client
from django.utils import timezone

from django_jobs import AsyncResult
from django_jobs.contrib.django_tasks import DatabaseBackend, JobTask
from django_jobs.define import registry
from django_jobs.exceptions import QueueFull
from django_jobs.models import Job
from django_jobs.run.execute import Environment, execute
from django_jobs.testing import assert_enqueued, captured_jobs, run_jobs
from tests import tasks
from tests.task_names import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    default_task_backend,
    task_backends,
)

pytestmark = pytest.mark.django_db

Drain = Callable[..., list[Any]]


def test_backend_can_do_everything() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, DatabaseBackend)
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert default_task_backend.task_class is JobTask


# --- enqueue ------------------------------------------------------------------------------------


def test_enqueue_writes_a_job_of_the_module_path() -> None:
    result = tasks.receipt.enqueue(7)
    row = Job.objects.get(pk=result.id)
    assert (row.name, row.queue, row.priority, row.args, row.kwargs, row.status) == (
        "tests.tasks.receipt", "mail", 5, [7], {}, "PENDING",
    )  # fmt: skip
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [7], {})
    assert (result.backend, result.errors, result.worker_ids) == ("default", [], [])
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert result.enqueued_at is not None
    assert result == tasks.receipt.get_result(result.id)
    assert result != tasks.receipt.enqueue(7)
    assert not result.is_finished
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value


def test_enqueue_is_part_of_the_caller_s_transaction() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        result = tasks.plus.enqueue(1)
        assert Job.objects.filter(pk=result.id).exists()
        raise ZeroDivisionError
    assert not Job.objects.exists()


def test_enqueue_from_async_code() -> None:
    async def both() -> tuple[Any, Any]:
        result = await tasks.plus.aenqueue(1, b=2)
        return result, await tasks.plus.aget_result(result.id)

    result, read = async_to_sync(both)()
    assert Job.objects.get(pk=result.id).kwargs == {"b": 2}
    assert read.id == result.id


def test_using_becomes_options_of_the_call() -> None:
    later = timezone.now() + datetime.timedelta(hours=1)
    used = tasks.receipt.using(queue_name="default", priority=-100, run_after=later)
    row = Job.objects.get(pk=used.enqueue(1).id)
    assert (row.queue, row.priority, row.status) == ("default", -100, "SCHEDULED")
    assert abs(row.run_at - later) < datetime.timedelta(milliseconds=1)


def test_route_holds_for_a_task_that_names_no_queue(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ROUTES": {"tests.*": {"queue": "routed"}}, "DEFAULT_QUEUE": "first"}
    assert Job.objects.get(pk=tasks.plus.enqueue(1).id).queue == "routed"
    used = tasks.plus.using(queue_name="mail")
    assert Job.objects.get(pk=used.enqueue(1).id).queue == "mail"
    settings.DJANGO_JOBS = {"DEFAULT_QUEUE": "first"}
    assert Job.objects.get(pk=tasks.plus.enqueue(1).id).queue == "first"


def test_queue_that_the_alias_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidTask, match="Queue 'video' is not valid for backend"):
        tasks.plus.using(queue_name="video")


def test_settings_that_changed_since_the_definition_are_respected(settings: Any) -> None:
    tasks.plus.enqueue(1)
    settings.TASKS = {"default": {**settings.TASKS["default"], "QUEUES": ["other"]}}
    with pytest.raises(InvalidTask, match="Queue 'default' is not valid"):
        tasks.plus.enqueue(1)


@pytest.mark.parametrize("value", [datetime.date(2030, 1, 1), {1, 2}, object()])
def test_argument_that_is_no_json_is_refused(value: Any) -> None:
    for call in [lambda: tasks.plus.enqueue(value), lambda: tasks.plus.enqueue(1, b=[value])]:
        with pytest.raises(TypeError, match="Unsupported type"):
            call()
    assert not Job.objects.exists()


def test_arguments_become_what_json_has() -> None:
    result = tasks.tell.enqueue((1, 2), b"x")
    assert result.args == [[1, 2], "x"]
    assert Job.objects.get(pk=result.id).args == [[1, 2], "x"]


def test_annotation_brings_the_type_back(drain: Drain) -> None:
    result = tasks.weekday.enqueue("2030-01-06")
    drain()
    result.refresh()
    assert result.return_value == 6


def test_arguments_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"tests\.tasks\.plus.*unexpected argument 'c'"):
        tasks.plus.enqueue(1, c=2)


def test_full_queue_refuses_tasks(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 1}}}
    tasks.plus.enqueue(1)
    with pytest.raises(QueueFull):
        tasks.plus.enqueue(2)


def test_enqueue_many_writes_all_with_few_statements(
    django_assert_max_num_queries: Any, drain: Drain
) -> None:
    with django_assert_max_num_queries(4):
        results = tasks.plus.enqueue_many([(1,), {"a": 2, "b": 3}, *[(n,) for n in range(98)]])
    drain()
    assert len(results) == 100
    assert [tasks.plus.get_result(each.id).return_value for each in results[:2]] == [1, 5]


def test_enqueue_many_with_another_backend_enqueues_one_by_one() -> None:
    results = tasks.plus.using(backend="immediate").enqueue_many([(1,), {"a": 2, "b": 3}])
    assert [each.return_value for each in results] == [1, 5]


def test_enqueue_many_names_what_a_call_is() -> None:
    with pytest.raises(TypeError, match=r"enqueue_many\(\) takes tuples .* got an int"):
        tasks.plus.enqueue_many([1])  # type: ignore[list-item]


# --- run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [tasks.plus, tasks.plus_async])
def test_result_of_a_run_is_read(task: Any, drain: Drain) -> None:
    result = task.enqueue(1, b=2)
    drain()
    assert result.status == TaskResultStatus.READY
    result.refresh()
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)
    assert result.is_finished
    assert result == task.get_result(result.id)
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert result.worker_ids == [str(Job.objects.get(pk=result.id).worker_id)]
    assert result.attempts == 1


def test_refresh_from_async_code(drain: Drain) -> None:
    result = tasks.plus.enqueue(1)
    drain()
    async_to_sync(result.arefresh)()
    assert result.return_value == 1


def test_task_with_context_gets_its_attempt_and_result(drain: Drain, worker: Any) -> None:
    result = tasks.tell.enqueue("x")
    drain()
    assert tasks.tell.get_result(result.id).return_value == {
        "attempt": 1,
        "id": result.id,
        "args": ["x"],
        "status": "RUNNING",
        "enqueued": True,
        "errors": [],
        "workers": [str(worker.pk)],
        "job": result.id,
    }


@pytest.mark.parametrize("name", ["tell_again", "tell_again_async"])
def test_context_has_the_real_attempt_and_the_history(drain: Drain, worker: Any, name: str) -> None:
    task = getattr(tasks, name)
    result = task.enqueue()
    for _attempt in range(3):
        drain()
        Job.objects.filter(status="RETRY").update(status="PENDING", ready_at=timezone.now())
    result.refresh()
    assert result.return_value == [3, ["builtins.OSError"] * 2, 3]
    assert [each.exception_class for each in result.errors] == [OSError, OSError]
    assert "OSError: attempt 2" in result.errors[1].traceback
    assert (result.worker_ids, result.attempts) == ([str(worker.pk)] * 3, 3)
    assert result.started_at < result.last_attempted_at < result.finished_at


def test_context_reads_only_what_it_is_asked_for(work: Any, django_assert_num_queries: Any) -> None:
    tasks.attempt_only.enqueue()
    (outcome,) = work()
    environment = Environment(worker_name="w")
    with django_assert_num_queries(0):
        assert execute(outcome.job, environment).value == 1


# --- results ------------------------------------------------------------------------------------


def test_unknown_ids_do_not_exist() -> None:
    for unknown in ("01a220cf-acf9-7acc-b375-dbd24ef527eb", "nonsense", ""):
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result(unknown)


def test_result_of_another_task_is_a_mismatch() -> None:
    result = tasks.plus.enqueue(1)
    with pytest.raises(TaskResultMismatch, match=r"tests\.tasks\.plus"):
        tasks.receipt.get_result(result.id)
    assert default_task_backend.get_result(result.id).task.func is tasks.plus.func


def test_job_that_is_no_task_has_no_task_result() -> None:
    from tests import jobs

    result = jobs.add.delay(1)
    with pytest.raises(TaskResultDoesNotExist, match=r"tests\.jobs\.add, which is no task"):
        default_task_backend.get_result(str(result.id))


def test_statuses_are_mapped() -> None:
    seen = {}
    result = tasks.plus.enqueue(1)
    for status in ("WAITING", "SCHEDULED", "PENDING", "RETRY", "STARTED", "SUCCESS"):
        Job.objects.filter(pk=result.id).update(status=status)
        result.refresh()
        seen[status] = str(result.status)
    assert seen == {
        "WAITING": "READY", "SCHEDULED": "READY", "PENDING": "READY", "RETRY": "READY",
        "STARTED": "RUNNING", "SUCCESS": "SUCCESSFUL",
    }  # fmt: skip


def test_failure_has_its_error(drain: Drain) -> None:
    result = tasks.collapse.enqueue("nope")
    drain()
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "ValueError: nope" in error.traceback
    assert result.started_at == result.last_attempted_at <= result.finished_at
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_result_keeps_what_an_operator_changed() -> None:
    result = tasks.plus.enqueue(1)
    Job.objects.filter(pk=result.id).update(queue="elsewhere", priority=500)
    read = tasks.plus.get_result(result.id)
    assert (read.task.queue_name, read.task.priority) == ("elsewhere", 500)


@pytest.mark.parametrize("how", ["result", "backend", "async"])
def test_cancelled_task_is_a_failed_one(how: str, drain: Drain) -> None:
    result: Any = tasks.plus.enqueue(1)
    cancelled = {
        "result": result.cancel,
        "async": async_to_sync(result.acancel),
        "backend": lambda: default_task_backend.cancel(result.id),
    }[how]()
    assert cancelled is True
    assert drain() == []
    result.refresh()
    assert (result.status, result.worker_ids) == (TaskResultStatus.FAILED, [])
    assert [each.exception_class.__name__ for each in result.errors] == ["JobRevoked"]
    assert result.cancel() is False


def test_results_can_be_kept_in_a_cache(drain: Drain) -> None:
    result = tasks.plus.enqueue(1)
    drain()
    result.refresh()
    json.dumps(result.id)
    if django.VERSION < (6, 1):  # its tasks hold their function, which pickle finds as a task
        pytest.skip("this Django's tasks cannot be pickled")
    assert pickle.loads(pickle.dumps(result)) == result


# --- several backends ---------------------------------------------------------------------------


@pytest.mark.django_db(databases=["default", "reports"])
def test_aliases_live_on_several_databases(settings: Any, drain: Drain) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    here, there = tasks.plus.enqueue(1), tasks.report.enqueue()
    assert Job.objects.using("reports").get().name == "tests.tasks.report"
    assert Job.objects.using("default").get().name == "tests.tasks.plus"
    assert tasks.report.get_result(there.id).backend == "reports"
    assert tasks.report.get_result(there.id).task.backend == "reports"
    assert tasks.plus.get_result(here.id).status == TaskResultStatus.READY
    there.refresh()
    assert there.cancel() is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["immediate", "dummy"])
def test_django_s_own_backends_work_beside(backend: str) -> None:
    used = tasks.plus.using(backend=backend)
    result = used.enqueue(1, b=2)
    assert not Job.objects.exists()
    ran = {"immediate": TaskResultStatus.SUCCESSFUL, "dummy": TaskResultStatus.READY}
    assert (result.status, result.backend) == (ran[backend], backend)


@pytest.mark.parametrize("backend", ["immediate", "dummy"])
def test_django_s_own_backends_can_take_the_place_in_tests(settings: Any, backend: str) -> None:
    settings.TASKS = {"default": settings.TASKS[backend]}
    result = tasks.receipt.using(queue_name="mail").enqueue(1)
    assert not Job.objects.exists()
    assert result.is_finished == (backend == "immediate")


def test_task_of_another_backend_runs_here_too(drain: Drain, registered: dict[str, Any]) -> None:
    assert not isinstance(tasks.elsewhere, JobTask)
    result = tasks.elsewhere.using(backend="default").enqueue(4)
    # A worker has the module, but did not send the task.
    del registered["tests.tasks.elsewhere"]
    drain()
    result.refresh()
    assert result.return_value == 8


def test_row_names_only_tasks(drain: Drain) -> None:
    """A name in a row runs nothing but tasks of modules that are loaded."""
    for name in ("os.system", "tests.tasks.AnyContext", "tests.tasks.plus.func", "tests.tasks"):
        assert registry.find(name) is None


# --- eager --------------------------------------------------------------------------------------


def test_eager_runs_the_task_at_once(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    result = tasks.plus.enqueue(1, b=2)
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 3, 1)
    assert not Job.objects.exists()
    failed = tasks.collapse.enqueue()
    assert failed.status == TaskResultStatus.FAILED
    assert [each.exception_class for each in failed.errors] == [ValueError]
    assert "tests/tasks.py" in failed.errors[0].traceback


def test_eager_that_raises_lets_the_exception_out(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": "raise"}
    with pytest.raises(ValueError, match="broken"):
        tasks.collapse.enqueue()


def test_eager_task_has_its_context(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    told = tasks.tell.enqueue("x")
    assert told.return_value["workers"] == ["eager"]
    assert told.return_value["id"] == told.id
    again = tasks.tell_again.enqueue()
    assert again.return_value[0] == 3
    assert again.attempts == 3


# --- other parts --------------------------------------------------------------------------------


def test_task_is_a_job_function() -> None:
    job = tasks.receipt.job  # type: ignore[attr-defined]
    assert registry.get("tests.tasks.receipt") is job
    assert (job.options.queue, job.options.priority) == ("mail", 5)
    assert str(job.shown_signature) == "(user_id: 'int') -> 'str'"
    row = AsyncResult[Any](job.delay(5).id).job
    assert (row.queue, row.priority) == ("mail", 5)
    assert tasks.receipt.func(5) == "sent to 5"


def test_admin_shows_the_task(boss: Client) -> None:
    tasks.tell.enqueue("x")
    page = boss.get("/admin/django_jobs/job/").content.decode()
    assert "tests.tasks.tell" in page
    functions = boss.get("/admin/django_jobs/function/", follow=True).content.decode()
    assert "tests.tasks.receipt" in functions


def test_testing_kit_takes_the_job_of_a_task() -> None:
    with captured_jobs() as captured:
        result = tasks.plus.enqueue(1, b=2)
    assert_enqueued(tasks.plus.job, args=[1], among=captured)  # type: ignore[attr-defined]
    run_jobs()
    result.refresh()
    assert result.return_value == 3
