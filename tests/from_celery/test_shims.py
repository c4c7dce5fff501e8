"""Tasks of Celery under ``@job``, and Celery's names and options in a project that moves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from django_jobs import JobContext, chain, group, job
from django_jobs.exceptions import FromCelery
from django_jobs.from_celery.options import warn_once
from django_jobs.models import Job
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


@pytest.fixture
def app() -> Iterator[Any]:
    """An app of Celery that nothing else sees."""
    celery = pytest.importorskip("celery", reason="Celery is not installed")
    app = celery.Celery("moving", set_as_current=False, broker="memory://", fixups=[])
    yield app
    app.close()


@pytest.fixture(autouse=True)
def nothing_warned_of() -> Iterator[None]:
    """Each warning comes once in a process."""
    warn_once.cache_clear()
    yield
    warn_once.cache_clear()


def test_job_runs_the_body_of_a_task_with_its_own_self(
    app: Any, run: Callable[..., Outcome]
) -> None:
    def body(self: Any, number: int) -> list[Any]:
        return [type(self).__name__, self.request.retries, number]

    task = app.task(bind=True, autoretry_for=(OSError,), name="moving.body")(body)
    function = job(bind=True, name="moving.body")(task)
    assert list(function.call_signature.parameters) == ["number"]
    assert run(function, 7).result == '["JobContext",0,7]'
    assert task.apply((7,)).get() == ["body", 0, 7]


def test_job_over_a_task_retries_by_its_own_options(app: Any, run: Callable[..., Outcome]) -> None:
    @job(name="moving.failing")
    @app.task(name="moving.failing", autoretry_for=(OSError,))
    def failing() -> None:
        raise OSError

    assert run(failing).status == "FAILURE"


def test_task_that_is_a_class_is_refused(app: Any) -> None:
    class Render(app.Task):  # type: ignore[misc]
        name = "moving.render"

        def run(self) -> None: ...

    with pytest.raises(TypeError, match=r"moving\.render, which is made of the class .*Render"):
        job(app.register_task(Render()))


def test_job_needs_no_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "celery", raising=False)

    @job
    def body() -> int:
        return 3

    assert body() == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("subtask", r"Use signature\(\)"),
        ("request", "Use current_job.request"),
        ("run", "Call the job function itself"),
        ("nonsense", r"no attribute 'nonsense'\.$"),
    ],
)
def test_name_of_a_task_says_what_to_type(name: str, text: str) -> None:
    with pytest.raises(AttributeError, match=text):
        getattr(jobs.add, name)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("routing_key", "use queue="),
        ("exchange", "use queue="),
        ("exchange_type", "use queue="),
        ("serializer", "arguments are JSON; leave it out"),
        ("connection", "there is no broker; leave it out"),
        ("producer", "there is no broker; leave it out"),
        ("shadow", "use name= of @job"),
        ("add_to_parent", "it is always in the parent's children; leave it out"),
        ("argsrepr", "name what must not be shown in sensitive= of @job"),
        ("immediate", "a job is a committed row; leave it out"),
        ("throw", "get() of its result raises the job's exception"),
        ("parent_id", "it is set by itself; leave it out"),
        ("reply_to", "use link=, or AsyncResult"),
    ],
)
def test_option_of_celery_s_call_says_what_to_type(option: str, text: str) -> None:
    with pytest.raises(TypeError, match="Unknown option") as caught:
        jobs.add.apply_async((1,), **{option: "other"})  # type: ignore[misc]
    assert f"Unknown option {option} (" in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize("option", ["trail", "send_events", "acks_on_failure_or_timeout"])
def test_option_of_celery_s_task_says_what_to_type(option: str) -> None:
    def body() -> None: ...

    with pytest.raises(TypeError, match=rf"Unknown option {option} \(.* leave it out\)"):
        job(**{option: True})(body)


# --- options that change nothing ----------------------------------------------------------------

NO_EFFECT: dict[str, Any] = {
    "retry": True,
    "retry_policy": {"max_retries": 3},
    "serializer": "json",
    "compression": "zlib",
    "delivery_mode": 2,
    "mandatory": True,
    "connection": None,
    "producer": None,
    "publisher": None,
}


@pytest.mark.parametrize("option", NO_EFFECT)
def test_option_that_changes_nothing_is_ignored_with_one_warning(option: str) -> None:
    options: Any = {option: NO_EFFECT[option]}
    with pytest.warns(FromCelery, match=rf"option {option} .* leave it out\.") as told:
        result = jobs.add.apply_async((1,), countdown=60, **options)
    assert [each.filename for each in told] == [__file__]
    assert Job.objects.get(pk=result.id).status == "SCHEDULED"
    jobs.add.apply_async((1,), **options)  # the second call warns no more


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("serializer", "pickle"),
        ("serializer", ["json"]),
        ("connection", object()),
        ("producer", object()),
        ("immediate", True),
        ("add_to_parent", False),
    ],
)
def test_option_that_would_change_the_call_is_refused(option: str, value: Any) -> None:
    options: Any = {option: value, "compression": "zlib"}
    with (
        pytest.warns(FromCelery, match="compression"),
        pytest.raises(TypeError, match=rf"Unknown option {option} \("),
    ):
        jobs.add.apply_async((1,), **options)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "enqueue",
    [
        lambda: jobs.add.s(1).set(retry=False).delay(),
        lambda: jobs.add.signature((1,), retry=False).delay(),  # type: ignore[call-arg]
        lambda: chain(jobs.add.s(1).set(retry=False), jobs.add.s(2)).delay(),
        lambda: group(jobs.add.s(1)).set(retry=False).delay(),
        lambda: chain(jobs.add.s(1), jobs.add.s(2)).apply_async(retry=False),
        lambda: jobs.add.apply_async((1,), link=jobs.add.s(2).set(retry=False)),
        lambda: jobs.add.apply_async((1,), link_error=jobs.echo.s().set(retry=False)),
        lambda: jobs.add.delay_many([(1,)], retry=False),  # type: ignore[call-arg]
    ],
    ids=["set", "signature", "chain", "group", "canvas", "link", "link_error", "many"],
)
def test_canvas_ignores_the_same_options(
    enqueue: Callable[[], Any], drain: Callable[..., list[Outcome]]
) -> None:
    def enqueue_and_run() -> set[str]:
        enqueue()
        # An errback is checked when it is enqueued.
        jobs.add.apply_async((1,), retry=False)
        return {str(outcome.status) for outcome in drain()}

    with pytest.warns(FromCelery) as told:
        assert enqueue_and_run() == {"SUCCESS"}
    assert len(told) == 1


def test_canvas_refuses_the_same_options() -> None:
    with pytest.raises(TypeError, match="routing_key \\(use queue="):
        jobs.add.s(1).set(routing_key="mail").delay()
    with pytest.raises(TypeError, match="routing_key \\(use queue="):
        chain(jobs.add.s(1), jobs.add.s(2).set(routing_key="mail")).delay()
    assert not Job.objects.exists()


@pytest.mark.parametrize("option", ["once", "on_failure", "abstract", "resultrepr_maxsize"])
def test_option_of_a_decorator_only_is_explained(option: str) -> None:
    def body() -> None: ...

    with pytest.raises(TypeError, match=rf"Unknown option {option} \(.+\)"):
        job(**{option: True})(body)


# --- delay_on_commit ----------------------------------------------------------------------------


def enqueue_on_commit(name: str) -> Any:
    if name == "delay_on_commit":
        return jobs.add.delay_on_commit(1, b=2)
    return jobs.add.apply_async_on_commit((1,), {"b": 2})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["delay_on_commit", "apply_async_on_commit"])
def test_call_on_commit_is_part_of_the_transaction_and_warns_once(
    name: str, drain: Callable[..., list[Outcome]]
) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.warns(FromCelery, match=rf"^{name}\(\) is Celery's: ") as told:
            enqueue_on_commit(name)
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert [each.filename for each in told] == [__file__]
    assert not Job.objects.exists()
    with transaction.atomic():
        result = enqueue_on_commit(name)
        assert Job.objects.get(pk=result.id).kwargs == {"b": 2}
    drain()
    assert result.get() == 3


@pytest.mark.filterwarnings("ignore::django_jobs.exceptions.FromCelery")
@pytest.mark.django_db(transaction=True, databases=["default", "reports"])
def test_call_on_commit_to_another_database_waits_for_the_commit(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    rows = Job.objects.using("reports")
    call: Any = jobs.add.apply_async_on_commit
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert call((1,), queue="reports") is None
        raise ZeroDivisionError
    assert not rows.exists()
    with transaction.atomic():
        assert call((1,), queue="reports") is None
        with pytest.raises(TypeError, match="unexpected argument 'c'"):
            call((), {"c": 1}, queue="reports")
        assert not rows.exists()
    assert rows.get().args == [1]
    assert call((2,), queue="reports").status == "PENDING"


@pytest.mark.filterwarnings("ignore::django_jobs.exceptions.FromCelery")
def test_call_on_commit_runs_at_once_in_eager_mode(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    result = jobs.add.delay_on_commit(1, 2)
    assert result is not None
    assert result.get() == 3


# --- base classes -------------------------------------------------------------------------------


def pay() -> None: ...


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("abstract", "base Tenant sets abstract, which is Celery's: .* leave it out"),
        ("serializer", "base Tenant sets serializer, which is Celery's: arguments are JSON"),
        ("track_started", "STARTED is always recorded"),
        ("ignore_result", "base Tenant sets ignore_result: options belong to @job"),
        ("shadow_name", r"base Tenant defines shadow_name\(\), which Celery calls"),
        ("on_bound", r"base Tenant defines on_bound\(\), which Celery calls"),
    ],
)
def test_base_class_with_a_name_of_celery_is_refused(name: str, text: str) -> None:
    base = type("Tenant", (JobContext,), {name: True})
    with pytest.raises(ImproperlyConfigured, match=text):
        job(base=base)(pay)


@pytest.mark.parametrize("name", ["autoretry_for", "retry_kwargs", "apply_async", "abstract"])
def test_mixin_that_is_shared_with_a_task_is_read_too(name: str) -> None:
    mixin = type("Shared", (), {name: ()})
    with pytest.raises(ImproperlyConfigured, match=rf"base Both (sets|defines) {name}"):
        job(base=type("Both", (mixin, JobContext), {}))(pay)


def test_mixin_may_have_hooks_and_attributes_of_its_own() -> None:
    hooks = ("before_start", "on_success", "on_failure", "on_retry", "after_return", "__call__")
    own: Any = {"name": "x", "connection": None, **dict.fromkeys(hooks, lambda self: None)}
    for bases, names in (((JobContext,), hooks), ((type("Shared", (), own), JobContext), ())):
        base = type("Tenant", bases, {name: own[name] for name in names})
        assert job(base=base, name=f"shims.{len(bases)}")(pay).options.base is base


def test_celery_s_task_as_base_says_what_to_write(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="write a class of JobContext with the same"):
        job(base=app.Task)(pay)
