from __future__ import annotations

import contextlib
import functools
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction

from django_jobs import SoftTimeLimitExceeded, current_job, job, progress, signals
from django_jobs.define.context import JobContext
from django_jobs.define.current import Request
from django_jobs.log import JobFilter
from django_jobs.log.console import console_handler
from django_jobs.models import Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed, Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Run = Callable[..., Outcome]


# --- resolve and bind ---------------------------------------------------------------------------


def test_job_runs_with_its_arguments(run: Run) -> None:
    outcome = run(jobs.echo, 1, [2], x={"y": None})
    assert outcome.status == "SUCCESS"
    assert outcome.value == [[1, [2]], {"x": {"y": None}}]
    assert Job.objects.get().result == outcome.value


def test_request_is_made_only_for_a_job_that_asks_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make(**values: Any) -> Request:
        made.append(values)
        return Request(**values)

    monkeypatch.setattr("django_jobs.run.prepare.Request", make)
    for signal in (signals.job_prerun, signals.job_postrun):
        monkeypatch.setattr(signal, "receivers", [])

    @job
    def asks() -> bool:
        requests = [current_job.request for _ in range(2)]
        return requests[0] is requests[1]

    assert run(jobs.add, 1, b=2).value == 3
    assert made == []
    assert run(asks).value is True
    assert len(made) == 1


def test_request_that_a_hook_gives_other_arguments_counts(run: Run) -> None:
    class Doubles(JobContext):
        def before_start(self, job_id: Any, args: Any, kwargs: Any) -> None:
            self.request.args = [2 * each for each in args]

    @job(base=Doubles)
    def first(number: int) -> int:
        return number

    assert run(first, 4).value == 8


def test_class_of_the_project_may_read_the_request_when_it_is_made(run: Run) -> None:
    class Reads(JobContext):
        def __init__(self, function: Any, request: Request, *others: Any) -> None:
            super().__init__(function, request, *others)
            self.first = request.args[0]

    @job(base=Reads, bind=True)
    def first(self: Any, number: int) -> int:
        return int(self.first)

    assert run(first, 4).value == 4


def test_async_job_runs_in_a_thread(run: Run) -> None:
    assert run(jobs.add_async, 1, b=2).value == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"args": '{"a": 1}'}, "args must be a JSON list"),
        ({"kwargs": "[1]"}, "kwargs must be a JSON object"),
        ({"args": "[1"}, "Expecting"),
        ({"args": ""}, "Expecting value"),
        ({"headers": "5"}, "headers must be a JSON object"),
        ({"options": "[]"}, "options must be a JSON object"),
        ({"options": '{"soft_time_limit": "x"}'}, "soft_time_limit"),
        ({"options": '{"time_limit": [1]}'}, "time_limit"),
    ],
)
def test_row_edited_into_nonsense_fails_with_a_reason(
    take: Callable[..., list[Claimed]], worker: Worker, columns: dict[str, str], message: str
) -> None:
    result = jobs.add.delay(1)
    with connection.cursor() as cursor:
        for name, text in columns.items():
            cursor.execute(f"UPDATE django_jobs_job SET {name} = %s", [text])
    outcomes = [execute(claimed, Environment()) for claimed in take()]
    assert record(worker.pk, outcomes, "default")
    row = Job.objects.defer("args", "kwargs", "headers", "options").get(pk=result.id)
    assert row.status == "FAILURE"
    assert message in row.error_message


def test_request_tells_the_attempt(take: Callable[..., list[Claimed]]) -> None:
    given = uuid.uuid4()
    jobs.tell_request.apply_async(
        (1,), {"x": 2}, task_id=given, priority=7, headers={"h": 1}, expires=600
    )
    (claimed,) = take()
    told = execute(claimed, Environment(worker_name="host:1")).value
    assert told.pop("expires") == claimed.expires_at is not None
    assert told == {
        "id": given,
        "args": [1],
        "kwargs": {"x": 2},
        "retries": 0,
        "attempt": 1,
        "queue": "default",
        "priority": 7,
        "eta": None,
        "headers": {"h": 1},
        "root_id": given,
        "parent_id": None,
        "worker": "host:1",
        "called_directly": False,
        "is_eager": False,
    }


def test_jobs_of_a_job_have_it_as_parent(run: Run) -> None:
    @job
    def outer() -> str:
        return str(jobs.add.apply_async((1,), queue="inner").id)

    outcome = run(outer)
    inner = Job.objects.get(pk=outcome.value)
    assert (inner.parent_id, inner.root_id) == (outcome.job.id, outcome.job.id)


# --- the running job ----------------------------------------------------------------------------


def test_current_job_is_the_running_one_and_nothing_outside(run: Run) -> None:
    @job
    def body() -> list[Any]:
        return [bool(current_job), str(current_job.request.id), current_job.name]

    outcome = run(body)
    assert outcome.value == [True, str(outcome.job.id), body.name]
    assert not current_job
    assert repr(current_job) == "<current_job: None>"
    with pytest.raises(RuntimeError, match="and none runs here"):
        current_job.request  # noqa: B018


def test_current_job_is_found_in_a_coroutine(run: Run) -> None:
    @job
    async def body() -> str:
        return str(current_job.request.id)

    outcome = run(body)
    assert outcome.value == str(outcome.job.id)


def test_progress_goes_to_the_pool(run: Run) -> None:
    @job(bind=True)
    def body(self: JobContext) -> None:
        progress(1, 2, "half")
        self.update_state(state="LOADING", meta={"n": 1})

    shown: list[Any] = []
    run(body, environment=Environment(report=lambda context, what: shown.append(what)))
    assert shown == [
        {"done": 1, "total": 2, "message": "half"},
        {"state": "LOADING", "meta": {"n": 1}},
    ]
    progress(1)  # outside of a job it does nothing


def test_progress_is_in_the_row_by_default(work: Callable[..., list[Outcome]]) -> None:
    @job
    def body() -> None:
        progress(1, 2, "half")

    result = body.delay()
    work()
    assert result.progress == {"done": 1, "total": 2, "message": "half"}


def test_progress_is_what_the_job_showed_though_it_changes_its_own_later(run: Run) -> None:
    @job(bind=True)
    def body(self: JobContext) -> None:
        meta = {"seen": [1]}
        self.update_state(state="LOADING", meta=meta)
        meta["seen"].append(2)

    shown: list[Any] = []
    run(body, environment=Environment(report=lambda context, what: shown.append(what)))
    assert shown == [{"state": "LOADING", "meta": {"seen": [1]}}]


def test_update_state_of_another_job_is_refused(run: Run) -> None:
    @job(bind=True, max_retries=0)
    def body(self: JobContext) -> None:
        self.update_state(state="X", task_id=uuid.uuid4())

    outcome = run(body)
    assert outcome.failure is not None
    assert "changes the running job only" in outcome.failure.message


def test_log_lines_of_a_job_carry_its_id_and_name(run: Run) -> None:
    lines: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record)

    handler = Keep()
    handler.addFilter(JobFilter())
    log = logging.getLogger("tests.body")
    log.addHandler(handler)

    @job
    def body() -> None:
        log.warning("inside")

    try:
        outcome = run(body)
        log.warning("outside")
    finally:
        log.removeHandler(handler)
    told = [(vars(line)["job_id"], vars(line)["job_name"]) for line in lines]
    assert told == [(str(outcome.job.id), body.name), ("-", "-")]


# --- limits -------------------------------------------------------------------------------------


def test_soft_limit_of_the_call_wins_over_function_and_pool(
    take: Callable[..., list[Claimed]],
) -> None:
    seen: list[float] = []

    @contextlib.contextmanager
    def limit(seconds: float) -> Iterator[None]:
        seen.append(seconds)
        yield

    @job(soft_time_limit=20)
    def limited() -> None: ...

    environment = Environment(soft_limit=limit, soft_time_limit=30)
    limited.apply_async(soft_time_limit=10)
    limited.delay()
    jobs.add.delay(1)
    for claimed in take():
        execute(claimed, environment)
    assert seen == [10, 20, 30]


def test_soft_limit_in_a_coroutine_can_be_caught(run: Run) -> None:
    @job(soft_time_limit=0.01)
    async def body() -> str:
        import asyncio

        try:
            await asyncio.Event().wait()
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            return "tidied up"
        return "never"

    assert run(body).value == "tidied up"


def test_soft_limit_in_a_coroutine_fails_the_job(run: Run) -> None:
    @job(soft_time_limit=0.01)
    async def body() -> None:
        import asyncio

        await asyncio.Event().wait()

    outcome = run(body)
    assert outcome.status == "FAILURE"
    assert outcome.failure is not None
    assert outcome.failure.error_class == "django_jobs.exceptions.SoftTimeLimitExceeded"


def test_begins_is_told_before_the_hooks_and_the_body(run: Run) -> None:
    seen: list[Any] = []

    class Context(JobContext):
        def before_start(self, *_: Any) -> None:
            seen.append("hook")

    @job(time_limit=9, base=Context)
    def body() -> None:
        seen.append("body")

    def begins(execution: Any) -> None:
        seen.append(execution.context.request.time_limit)

    run(body, environment=Environment(begins=begins))
    assert seen == [9, "hook", "body"]


# --- transactions -------------------------------------------------------------------------------


def test_transaction_left_open_fails_the_job(run: Run) -> None:
    outcome = run(jobs.add, 1, environment=Environment(tidy=lambda: "default"))
    assert outcome.status == "FAILURE"
    assert outcome.failure is not None
    assert outcome.failure.error_class == "django_jobs.exceptions.TransactionLeftOpen"


@job(atomic=True, name="tests.make_user")
def make_user(answer: str = "") -> Any:
    User.objects.create(username="made")
    if answer == "raise":
        raise ValueError("no")
    return float("nan") if answer == "nan" else "done"


@pytest.mark.django_db(transaction=True)
def test_atomic_job_commits_its_success_with_its_writes(worker: Worker, run: Run) -> None:
    seen: list[Any] = []

    def commit(outcomes: Sequence[Outcome]) -> bool:
        seen.append((connection.in_atomic_block, User.objects.count()))
        return bool(record(worker.pk, outcomes, "default"))

    make_user.delay()
    claimed = claim_one(worker)
    outcome = execute(claimed, Environment(commit=commit))
    assert seen == [(True, 1)]
    assert outcome.recorded
    assert Job.objects.get().status == "SUCCESS"
    assert User.objects.count() == 1


def claim_one(worker: Worker) -> Claimed:
    from django_jobs.run.claim import claim

    ((claimed,), _) = claim(worker.pk, ["default"], 1, "default")
    return claimed


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", ["raise", "nan"])
def test_atomic_job_that_fails_leaves_no_writes(worker: Worker, answer: str) -> None:
    make_user.delay(answer)
    outcome = execute(claim_one(worker), Environment())
    assert (outcome.status, outcome.recorded) == ("FAILURE", False)
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_atomic_job_that_is_no_longer_ours_leaves_no_writes(worker: Worker) -> None:
    make_user.delay()
    claimed = claim_one(worker)
    Job.objects.update(status="REVOKED")

    def commit(outcomes: Sequence[Outcome]) -> bool:
        return bool(record(worker.pk, outcomes, "default"))

    outcome = execute(claimed, Environment(commit=commit))
    assert not outcome.recorded
    assert not User.objects.exists()
    assert Job.objects.get().status == "REVOKED"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, OperationalError, "conflict"])
def test_on_commit_hook_that_raises_changes_no_success(
    worker: Worker, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    runs: list[int] = []

    def fail() -> None:
        error: Any = OperationalError("a conflict") if kind == "conflict" else kind("broken")
        error.sqlstate = "40001" if kind == "conflict" else None
        raise error

    @job(atomic=True, autoretry_for=[Exception])
    def body() -> int:
        runs.append(1)
        User.objects.create(username="made")
        transaction.on_commit(fail)
        return 1

    body.delay()
    commit = functools.partial(committed_by, worker)
    outcome = execute(claim_one(worker), Environment(commit=commit))
    assert (outcome.status, outcome.recorded, runs) == ("SUCCESS", True, [1])
    assert (Job.objects.get().status, User.objects.count()) == ("SUCCESS", 1)
    assert "hook=on_commit" in caplog.text


def committed_by(worker: Worker, outcomes: Sequence[Outcome]) -> bool:
    return bool(record(worker.pk, outcomes, "default"))


# --- hooks and signals --------------------------------------------------------------------------


class Told(JobContext):
    seen: list[Any] = []

    def before_start(self, job_id: Any, args: Any, kwargs: Any) -> None:
        assert isinstance(job_id, str)
        self.seen.append(("before_start", args, kwargs))

    def on_success(self, retval: Any, job_id: Any, args: Any, kwargs: Any) -> None:
        self.seen.append(("on_success", retval))

    def on_failure(self, exc: Any, job_id: Any, args: Any, kwargs: Any, einfo: str) -> None:
        self.seen.append(("on_failure", str(exc), "Traceback" in einfo))

    def on_retry(self, exc: Any, job_id: Any, args: Any, kwargs: Any, einfo: str) -> None:
        self.seen.append(("on_retry", str(exc)))

    def after_return(
        self, status: str, retval: Any, job_id: Any, args: Any, kwargs: Any, einfo: str
    ) -> None:
        self.seen.append(("after_return", status))


@pytest.fixture
def told() -> Iterator[list[Any]]:
    Told.seen.clear()
    yield Told.seen
    Told.seen.clear()


def test_hooks_of_a_success(run: Run, told: list[Any]) -> None:
    @job(base=Told)
    def body(a: int) -> int:
        told.append("body")
        return a

    run(body, 1)
    assert told == [
        ("before_start", [1], {}), "body", ("on_success", 1), ("after_return", "SUCCESS"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("retries", "told_last"),
    [
        (0, [("on_failure", "no", True), ("after_return", "FAILURE")]),
        (1, [("on_retry", "no"), ("after_return", "RETRY")]),
    ],
)
def test_hooks_of_a_failure(run: Run, told: list[Any], retries: int, told_last: Any) -> None:
    @job(base=Told, max_retries=retries, autoretry_for=(ValueError,))
    def body() -> None:
        raise ValueError("no")

    run(body)
    assert told[1:] == told_last


def test_hook_that_raises_changes_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(JobContext):
        def before_start(self, *args: Any) -> None:
            raise RuntimeError("before")

        def on_success(self, *args: Any) -> None:
            raise RuntimeError("after")

    @job(base=Broken)
    def body() -> int:
        return 1

    assert run(body).status == "SUCCESS"
    assert "hook=before_start" in caplog.text
    assert "hook=on_success" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("atomic", [False, True])
def test_hook_or_receiver_that_exits_changes_nothing(
    run: Run, caplog: pytest.LogCaptureFixture, kind: type[BaseException], atomic: bool
) -> None:
    def leave(*args: Any, **named: Any) -> None:
        raise kind(5)

    class Leaving(JobContext):
        before_start = on_success = after_return = leave

    @job(base=Leaving, atomic=atomic)
    def body() -> int:
        return 1

    try:
        for signal in (signals.job_prerun, signals.job_success):
            signal.connect(leave)
        assert run(body).status == "SUCCESS"
    finally:
        for signal in (signals.job_prerun, signals.job_success):
            signal.disconnect(leave)
    assert caplog.text.count("hook failed") == 3
    assert caplog.text.count("signal receiver failed") == 2


def test_exception_whose_methods_raise_fails_its_job_alone(run: Run) -> None:
    class Broken(BaseException):
        def __str__(self) -> str:
            raise self

        __repr__ = __str__

        @property
        def args(self) -> Any:
            raise self

    @job
    def body() -> None:
        raise Broken

    outcome = run(body)
    assert (outcome.status, outcome.failure.message) == ("FAILURE", "(its __str__ raised Broken)")


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    seen: list[Any] = []
    names = ("prerun", "postrun", "success", "failure", "retry", "revoked")
    receivers = []
    for name in names:

        def receive(sender: str, signal: Any, name: str = name, **named: Any) -> None:
            seen.append((name, sender, named))

        receivers.append((getattr(signals, f"job_{name}"), receive))
        getattr(signals, f"job_{name}").connect(receive)
    yield seen
    for signal, receive in receivers:
        signal.disconnect(receive)


def test_signals_of_a_success(run: Run, sent: list[Any]) -> None:
    outcome = run(jobs.add, 1, b=2)
    assert [name for name, _, _ in sent] == ["prerun", "success", "postrun"]
    assert {sender for _, sender, _ in sent} == {"tests.jobs.add"}
    assert {named["job_id"] for _, _, named in sent} == {str(outcome.job.id)}
    assert sent[0][2]["args"] == [1]
    assert sent[1][2]["result"] == 3
    assert sent[2][2]["status"] == "SUCCESS"


def test_signals_of_a_failure(run: Run, sent: list[Any]) -> None:
    run(jobs.fail, "oops")
    assert [name for name, _, _ in sent] == ["prerun", "failure", "postrun"]
    assert str(sent[1][2]["exception"]) == "oops"
    assert "ValueError: oops" in sent[1][2]["traceback"]


def test_signals_of_a_retry(run: Run, sent: list[Any]) -> None:
    @job(autoretry_for=(ValueError,), retry_backoff=False, default_retry_delay=5)
    def body() -> None:
        raise ValueError("again")

    run(body)
    assert [name for name, _, _ in sent] == ["prerun", "retry", "postrun"]
    assert sent[1][2]["delay"] == 5


def test_signals_of_an_expired_job(worker: Worker, sent: list[Any]) -> None:
    jobs.add.apply_async((1,), expires=-1)
    claimed = claim_one(worker)
    assert execute(claimed, Environment()).status == "REVOKED"
    assert [name for name, _, _ in sent] == ["revoked"]
    assert sent[0][2]["reason"] == "expired"


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["job", "worker", "beat", "signals"])
def test_handler_that_raises_ends_nothing(
    run: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ConnectionError("the handler's own")

    package, handler = logging.getLogger("django_jobs"), Broken()
    package.addHandler(handler)
    try:
        assert run(jobs.add, 1, b=2).status == "SUCCESS"
        logging.getLogger(f"django_jobs.{name}").error("a line")
    finally:
        package.removeHandler(handler)
    assert "the handler's own" in capsys.readouterr().err


def test_one_line_at_info_for_a_success(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "django_jobs")
    outcome = run(jobs.add, 1)
    (line,) = [record for record in caplog.records if record.name == "django_jobs.job"]
    assert line.levelname == "INFO"
    assert line.getMessage().startswith(f"success name=tests.jobs.add id={outcome.job.id} ")


def test_failure_is_logged_with_traceback_and_throws_without(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_jobs")

    @job(throws=(KeyError,), max_retries=0)
    def expected() -> None:
        raise KeyError("answer")

    run(jobs.fail, "defect")
    assert "Traceback" in caplog.text
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    caplog.clear()
    run(expected)
    assert "Traceback" not in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_failure_is_one_record_that_names_its_job(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_jobs")
    outcome = run(jobs.fail, "defect")
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    shown = {name: getattr(record, name) for name in ("job_id", "job_name", "queue", "attempt")}
    job_id = str(outcome.job.id)
    assert shown == {"job_id": job_id, "job_name": jobs.fail.name, "queue": "default", "attempt": 1}
    assert record.getMessage().count(job_id) == 1


def test_start_is_logged_at_debug_before_the_body(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "django_jobs")
    outcome = run(jobs.add, 1)
    first, *_others = [each for each in caplog.records if each.name == "django_jobs.job"]
    assert first.levelname == "DEBUG"
    assert first.getMessage() == (
        f"started name=tests.jobs.add id={outcome.job.id} attempt=1 queue=default"
    )


def test_console_names_a_job_once_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger("django_jobs")
    console, level = console_handler(), package.level
    own = logging.getLogger("shop")

    @job
    def buy() -> None:
        own.warning("bought")

    for logger in (package, own):
        logger.addHandler(console)
    package.setLevel(logging.INFO)
    try:
        outcome = run(buy)
    finally:
        package.setLevel(level)
        for logger in (package, own):
            logger.removeHandler(console)
    of_the_job, of_the_end = capsys.readouterr().err.splitlines()
    assert of_the_job.endswith(f" shop [{buy.name} {outcome.job.id}] bought")
    assert of_the_end.count(str(outcome.job.id)) == 1
    assert of_the_end.count(buy.name) == 1


def test_secret_argument_never_reaches_row_or_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    @job(max_retries=0, sensitive=("nickname",))
    def login(user: str, password: str, nickname: str) -> None:
        raise ValueError(f"{user} cannot log in with {password} as {nickname}")

    caplog.set_level(logging.DEBUG)
    run(login, "joe", "hunter2", nickname="joey-the-lip")
    row = Job.objects.get()
    (attempt,) = row.attempts.all()
    seen = f"{row.error_message} {attempt.traceback} {attempt.error_args} {caplog.text}"
    assert "joe cannot log in with ********" in row.error_message
    assert "hunter2" not in seen
    assert "joey-the-lip" not in seen
