"""``@job`` over a task of Celery, as in a project that moves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobs import job
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
        ("delay_on_commit", r"delay\(\) is part of the transaction already\. Use it"),
        ("apply_async_on_commit", r"apply_async\(\) is part of the transaction already\. Use it"),
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
        ("serializer", "arguments are JSON; leave it out"),
        ("compression", "arguments are JSON; leave it out"),
        ("retry", "its INSERT needs no retry; leave it out"),
        ("retry_policy", "its INSERT needs no retry; leave it out"),
        ("connection", "there is no broker; leave it out"),
        ("producer", "there is no broker; leave it out"),
        ("shadow", "use name= of @job"),
        ("add_to_parent", "it is always in the parent's children; leave it out"),
        ("argsrepr", "name what must not be shown in sensitive= of @job"),
        ("delivery_mode", "a job is a committed row; leave it out"),
        ("parent_id", "it is set by itself; leave it out"),
        ("reply_to", "use link=, or AsyncResult"),
    ],
)
def test_option_of_celery_s_call_says_what_to_type(option: str, text: str) -> None:
    with pytest.raises(TypeError, match="Unknown option") as caught:
        jobs.add.apply_async((1,), **{option: None})  # type: ignore[misc]
    assert f"Unknown option {option} (" in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize("option", ["trail", "send_events", "acks_on_failure_or_timeout"])
def test_option_of_celery_s_task_says_what_to_type(option: str) -> None:
    def body() -> None: ...

    with pytest.raises(TypeError, match=rf"Unknown option {option} \(.* leave it out\)"):
        job(**{option: True})(body)
