"""The options of ``@job`` for tasks: at the task, in ``JOB_OPTIONS``, in ``OPTIONS``."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import django_tasks
import pytest
from django.utils import timezone

from django_jobs import JobContext
from django_jobs.contrib.django_tasks import JobTask
from django_jobs.define import registry
from django_jobs.models import Job
from tests import tasks
from tests.task_names import TAKES_OPTIONS, InvalidTask, task

pytestmark = [pytest.mark.once, pytest.mark.django_db, pytest.mark.usefixtures("registered")]

options_stand_at_the_task = pytest.mark.skipif(
    not TAKES_OPTIONS, reason="this Django's @task takes no options but its own"
)


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make a task of a new function of the module ``shop.tasks``, with these options."""
    module = types.ModuleType("shop.tasks")
    monkeypatch.setitem(sys.modules, "shop.tasks", module)

    def make(name: str = "pay", **options: Any) -> Any:
        code = f"def {name}(context=None, *args):\n    return body(context, *args)\n"
        module.__dict__["body"] = options.pop("body", lambda context, *args: None)
        exec(code, module.__dict__)
        made = options.pop("by", task)(**options)(module.__dict__[name])
        module.__dict__[name] = made
        return made

    return make


@options_stand_at_the_task
def test_options_stand_at_the_task(define: Any) -> None:
    made = define(max_retries=5, autoretry_for=[OSError], concurrency=1, priority=7)
    options = registry.get("shop.tasks.pay").options
    assert (options.max_retries, options.concurrency, options.priority) == (5, 1, 7)
    assert made.options == {"max_retries": 5, "autoretry_for": [OSError], "concurrency": 1}
    assert hash(made) == hash(made.using())


def test_packages_that_import_the_backport_work_on_every_django(define: Any, drain: Any) -> None:
    made = define(by=django_tasks.task, max_retries=5, body=lambda context, *args: "purged")
    assert type(made) is JobTask
    assert registry.get("shop.tasks.pay").options.max_retries == 5
    result = made.enqueue()
    drain()
    result.refresh()
    assert result.return_value == "purged"


@options_stand_at_the_task
def test_using_keeps_the_options(define: Any) -> None:
    made = define(max_retries=5)
    used = made.using(priority=3)
    assert used.options == {"max_retries": 5}
    used.enqueue()
    assert registry.get("shop.tasks.pay").options.max_retries == 5


@options_stand_at_the_task
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_retrys": 5},
            r"@task shop\.tasks\.pay: .*max_retrys \(did you mean max_retries=\?\)",
        ),
        ({"queue": "mail"}, r"@task shop\.tasks\.pay: Unknown option queue"),
        ({"bind": True}, "Unknown option bind"),
        ({"max_retries": -1}, r"@job shop\.tasks\.pay: max_retries must be a whole number"),
    ],
)
def test_wrong_option_makes_the_task_invalid(define: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        define(**options)
    assert registry.registered("shop.tasks.pay") is None


@options_stand_at_the_task
def test_retries_unique_and_schedule_hold_for_tasks(define: Any, drain: Any) -> None:
    def body(context: Any, *args: Any) -> None:
        raise OSError(f"attempt {context.attempt}")

    made = define(body=body, takes_context=True, autoretry_for=[OSError], max_retries=1,
                  unique=True, schedule=60)  # fmt: skip
    first, second = made.enqueue(), made.enqueue()
    assert first.id == second.id
    drain()
    assert Job.objects.get().status == "RETRY"
    Job.objects.update(status="PENDING", ready_at=timezone.now())
    drain()
    first.refresh()
    assert [each.traceback.splitlines()[-1] for each in first.errors] == [
        "OSError: attempt 1", "OSError: attempt 2",
    ]  # fmt: skip
    assert registry.get("shop.tasks.pay").options.schedule == 60


@options_stand_at_the_task
def test_base_of_the_project_wraps_the_call_with_the_context(define: Any, run: Any) -> None:
    told = []

    class Told(JobContext):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            told.append("before")
            return super().__call__(*args, **kwargs)

        def on_success(self, retval: Any, *args: Any) -> None:
            told.append(retval)

    made = define(body=lambda context, word: (context.attempt, word), takes_context=True, base=Told)
    assert run(made.job, "x").value == (1, "x")
    assert told == ["before", (1, "x")]


def test_job_options_and_the_alias_give_what_the_task_does_not_set(
    define: Any, settings: Any
) -> None:
    here = settings.TASKS["reports"] | {"OPTIONS": {"max_retries": 9, "time_limit": 60}}
    settings.TASKS = settings.TASKS | {"reports": here}
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"shop.*": {"max_retries": 4, "queue": "shop"}}}
    define(backend="reports", queue_name="reports")
    options = registry.get("shop.tasks.pay").options
    assert (options.max_retries, options.time_limit, options.queue) == (4, 60, "reports")
    define("refund")
    options = registry.get("shop.tasks.refund").options
    assert (options.max_retries, options.time_limit, options.queue) == (4, None, "shop")


def test_queue_of_job_options_is_used(define: Any, settings: Any) -> None:
    settings.DJANGO_JOBS = {"JOB_OPTIONS": {"shop.*": {"queue": "shop", "priority": 4}}}
    made = define()
    row = Job.objects.get(pk=made.enqueue().id)
    assert (row.queue, row.priority) == ("shop", 4)
    row = Job.objects.get(pk=made.using(priority=-1, queue_name="mail").enqueue().id)
    assert (row.queue, row.priority) == ("mail", -1)


def test_alias_s_options_are_the_last(define: Any) -> None:
    assert tasks.report.job.options.max_retries == 9  # type: ignore[attr-defined]
    assert tasks.plus.job.options.max_retries == 3  # type: ignore[attr-defined]


def test_function_is_one_task_only(define: Any) -> None:
    made = define()
    assert task(made.func).job is made.job
    with pytest.raises(InvalidTask, match=r"shop\.tasks\.pay is a task already"):
        task(takes_context=True)(made.func)


def test_function_inside_a_function_is_no_task() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidTask, match="module level"):
        task(inner)


def test_task_is_of_the_backend_s_class(define: Any) -> None:
    made = define()
    assert type(made) is JobTask
    assert made.name == "pay"
    assert made.module_path == "shop.tasks.pay"
