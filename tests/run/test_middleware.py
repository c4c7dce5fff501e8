"""The context managers of MIDDLEWARE, around the hooks and the body of each attempt."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import JobContext, current_job, job, signals
from django_jobs.exceptions import Retry
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute_async
from django_jobs.values import Claimed, Outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

PATH = "tests.run.test_middleware"

seen: list[Any] = []
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


@contextlib.contextmanager
def outer(running: JobContext) -> Iterator[None]:
    assert current_job.request is running.request
    assert running.outcome is None
    seen.append("outer")
    try:
        yield
    finally:
        outcome = running.outcome
        assert outcome is not None
        seen.append(("outer", outcome.status, outcome.result, repr(outcome.exception)))


@contextlib.contextmanager
def inner(running: JobContext) -> Iterator[None]:
    seen.append("inner")
    yield
    seen.append("inner ends well")


@contextlib.asynccontextmanager
async def only_async(running: JobContext) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    token = variable.set("set")
    yield
    await asyncio.sleep(0)
    variable.reset(token)
    seen.append(("async", variable.get()))


@contextlib.asynccontextmanager
async def leaving_a_task(running: JobContext) -> AsyncIterator[None]:
    async def exits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit("left")

    task = asyncio.create_task(exits())
    await asyncio.sleep(0)
    yield
    del task


class Both:
    def __init__(self, running: JobContext) -> None:
        pass

    def __enter__(self) -> None:
        seen.append("sync way in")

    def __exit__(self, *_: object) -> None:
        seen.append("sync way out")

    async def __aenter__(self) -> None:
        seen.append("async way in")

    async def __aexit__(self, *_: object) -> None:
        seen.append("async way out")


@contextlib.contextmanager
def setting(running: JobContext) -> Iterator[None]:
    token = variable.set("set")
    yield
    variable.reset(token)


@contextlib.contextmanager
def swallowing(running: JobContext) -> Iterator[None]:
    with contextlib.suppress(ValueError):
        yield


class RaisingAgain:
    def __init__(self, running: JobContext) -> None:
        pass

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            raise error


def broken_before(running: JobContext) -> Any:
    raise KeyError("before")


@contextlib.contextmanager
def broken_after(running: JobContext) -> Iterator[None]:
    yield
    raise KeyError("after")


def no_manager(running: JobContext) -> int:
    return 5


def takes_nothing() -> None: ...


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@pytest.fixture
def use(settings: Any) -> Callable[..., None]:
    def use(*names: str, **others: Any) -> None:
        settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{PATH}.{name}" for name in names], **others}

    return use


class Hooked(JobContext):
    def before_start(self, *args: Any) -> None:
        seen.append("before_start")

    def on_success(self, *args: Any) -> None:
        seen.append(f"on_success {variable.get()}".strip())

    def on_failure(self, *args: Any) -> None:
        seen.append("on_failure")


def succeed() -> str:
    seen.append(f"body {variable.get()}".strip())
    return "value"


def fail() -> None:
    raise ValueError("no")


def retry() -> None:
    raise Retry(countdown=60)


Run = Callable[..., Outcome]


def test_it_goes_around_hooks_body_and_end_in_order(use: Any, run: Run) -> None:
    use("outer", "inner")
    run(job(base=Hooked)(succeed))
    assert seen == [
        "outer", "inner", "before_start", "body", "on_success",
        "inner ends well", ("outer", "SUCCESS", "value", "None"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (fail, ("outer", "FAILURE", None, "ValueError('no')")),
        (retry, ("outer", "RETRY", None, "Retry()")),
    ],
)
def test_it_sees_what_the_body_raised(use: Any, run: Run, body: Any, ending: Any) -> None:
    use("outer", "inner")
    assert run(job(body)).status == ending[1]
    assert seen[:2] == ["outer", "inner"]
    assert seen[2][:3] == ending[:3]
    assert seen[2][3].startswith(ending[3].rstrip(")"))
    assert len(seen) == 3


@pytest.mark.parametrize("eager", [False, True])
def test_eager_jobs_have_it_too(use: Any, drain: Any, eager: bool) -> None:
    use("outer", EAGER=eager)
    job(succeed).delay()
    drain()
    assert seen == ["outer", "body", ("outer", "SUCCESS", "value", "None")]


def test_atomic_jobs_and_coroutines_have_it(use: Any, run: Run) -> None:
    use("outer")

    async def coroutine() -> str:
        return succeed()

    for function in (job(atomic=True)(succeed), job(coroutine)):
        seen.clear()
        run(function)
        assert seen == ["outer", "body", ("outer", "SUCCESS", "value", "None")]


def test_each_attempt_has_it_and_a_job_that_does_not_begin_has_not(use: Any, run: Run) -> None:
    use("outer")

    @job(autoretry_for=[ValueError], max_retries=3, default_retry_delay=0)
    def twice() -> None:
        if current_job.request.retries == 0:
            raise ValueError

    use("outer", EAGER=True)
    twice.delay()
    assert [each[1] for each in seen if each != "outer"] == ["RETRY", "SUCCESS"]
    seen.clear()
    job(succeed).apply_async(expires=-1)
    assert seen == []


@pytest.mark.parametrize("autoretry", [(), (KeyError,)])
def test_error_before_the_body_is_the_end_of_the_attempt(
    use: Any, run: Run, autoretry: Any
) -> None:
    use("outer", "broken_before", "inner")
    outcome = run(job(base=Hooked, autoretry_for=autoretry)(succeed))
    assert outcome.status == ("RETRY" if autoretry else "FAILURE")
    assert outcome.failure is not None
    assert outcome.failure.message == "'before'"
    ends = [] if autoretry else ["on_failure"]
    assert seen == ["outer", *ends, ("outer", outcome.status, None, "KeyError('before')")]


def test_error_after_the_body_is_logged_and_the_others_are_left(
    use: Any, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    use("outer", "broken_after")
    assert run(job(succeed)).status == "SUCCESS"
    assert seen == ["outer", "body", ("outer", "SUCCESS", "value", "None")]
    assert f"middleware={PATH}.broken_after" in caplog.text
    assert "KeyError: 'after'" in caplog.text


def test_error_of_a_task_that_an_async_one_has_left_is_logged(
    use: Any, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    use("leaving_a_task")
    assert run(job(succeed)).status == "SUCCESS"
    assert "middleware=its event loop" in caplog.text
    assert "SystemExit: left" in caplog.text


@pytest.mark.parametrize("name", ["swallowing", "RaisingAgain"])
def test_it_changes_no_outcome(
    use: Any, run: Run, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    use(name)
    assert run(job(fail)).status == "FAILURE"
    assert "middleware failed" not in caplog.text


def test_result_that_is_no_context_manager_fails_the_attempt(use: Any, run: Run) -> None:
    use("no_manager")
    outcome = run(job(succeed))
    assert outcome.failure is not None
    assert outcome.failure.message == (
        f"{PATH}.no_manager, which MIDDLEWARE names, must return a context manager, got an int. "
        "Decorate it with @contextlib.contextmanager."
    )


def test_async_one_around_a_plain_function_shares_its_variables(
    use: Any, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    use("only_async")
    run(job(base=Hooked)(succeed))
    assert seen == ["before_start", "body set", "on_success set", ("async", "")]
    assert "middleware failed" not in caplog.text


def test_line_of_the_log_has_the_variables_of_the_middleware(use: Any, run: Run) -> None:
    use("setting")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage().split()[0], variable.get()))

    logger, handler = logging.getLogger("django_jobs.job"), Handler(logging.INFO)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        run(job(succeed))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert seen == ["body set", ("success", "set")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Both", ["async way in", "body", "async way out"]),
        ("outer", ["outer", "body", ("outer", "SUCCESS", "value", "None")]),
        ("only_async", ["body set", ("async", "")]),
    ],
)
def test_in_an_event_loop_the_async_way_is_taken(
    use: Any, take: Callable[..., list[Claimed]], name: str, expected: Any
) -> None:
    use(name)

    @job
    async def coroutine() -> str:
        return succeed()

    coroutine.delay()
    (claimed,) = take()

    async def call(execution: Any) -> Any:
        return await coroutine.__wrapped__()

    async def confirm(outcome: Outcome) -> Outcome:
        return outcome

    outcome = asyncio.run(execute_async(claimed, Environment(), call, confirm))
    assert outcome.status == "SUCCESS"
    assert seen == expected


def test_around_a_plain_function_the_sync_way_is_taken(use: Any, run: Run) -> None:
    use("Both")
    run(job(succeed))
    assert seen == ["sync way in", "body", "sync way out"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.middleware", "MIDDLEWARE names 'nowhere.middleware', which cannot be imported"),
        (f"{PATH}.PATH", f"MIDDLEWARE names '{PATH}.PATH', which is a str."),
        (f"{PATH}.takes_nothing", "which does not take one argument, the running job."),
        (5, "MIDDLEWARE must hold dotted paths of functions, got an int."),
    ],
)
def test_path_that_cannot_be_used_is_refused(settings: Any, path: Any, message: str) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [path]}
    with pytest.raises(ImproperlyConfigured) as caught:
        Environment()
    assert message in str(caught.value)


def test_receivers_of_the_end_are_called_inside(use: Any, run: Run) -> None:
    use("outer")

    def receive(**named: Any) -> None:
        seen.append("receiver")

    signals.job_success.connect(receive)
    try:
        run(job(succeed))
    finally:
        signals.job_success.disconnect(receive)
    assert seen == ["outer", "body", "receiver", ("outer", "SUCCESS", "value", "None")]
