"""Every record names its job and its worker: those of the package, and those of a job's code."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import dataclasses
import inspect
import logging
import resource
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from django_jobs import chain, job, log, signals
from django_jobs.define.context import JobContext
from django_jobs.log.attributes import LOGGERS, NEUTRAL
from django_jobs.status import Status
from django_jobs.testing import run_jobs
from django_jobs.values import Claimed, Failure, NewJob, Outcome
from tests import jobs
from tests.test_architecture import PACKAGE
from tests.worker.test_isolation import run_pool

Records = list[logging.LogRecord]
FAILURE = Failure("ValueError", "broken", "Traceback")
CLAIMED = Claimed(
    uuid.uuid4(), "shop.jobs.buy", "[]", "{}", 3, 1, 0, 0, "mail", 0, None, None, None, None, None,
    False, None, None, False, 0.0,
)  # fmt: skip
NEW = NewJob(CLAIMED.id, CLAIMED.name, CLAIMED.queue, 0, "PENDING", "[]", "{}")
OF_JOB = {
    "job_id": str(CLAIMED.id),
    "job_name": "shop.jobs.buy",
    "queue": "mail",
    "attempt": 2,
    "worker": "host-0",
}
OF_WORKER = NEUTRAL | {"worker": "host-0"}
NAMED = log.about(CLAIMED.id, CLAIMED.name)


def ended(status: Status, failure: Failure | None = None) -> Outcome:
    outcome = Outcome.of(CLAIMED, status)
    outcome.failure = failure
    return outcome


#: For each function of the log that makes a record: a call of it, and the attributes it must have.
LINES: dict[str, tuple[Callable[[], object], dict[str, Any]]] = {
    "job_started": (lambda: log.job_started(CLAIMED), OF_JOB),
    "job_ended": (lambda: log.job_ended(ended(Status.FAILURE, FAILURE)), OF_JOB),
    "retry_after_ignored": (lambda: log.retry_after_ignored(CLAIMED, FAILURE), OF_JOB),
    "backoff_failed": (lambda: log.backoff_failed(CLAIMED, FAILURE), OF_JOB),
    "outcome_dropped": (lambda: log.outcome_dropped(ended(Status.SUCCESS), uuid.uuid4()), OF_JOB),
    "outcome_unrecordable": (
        lambda: log.outcome_unrecordable(ended(Status.SUCCESS), FAILURE),
        OF_JOB,
    ),
    "unprepared": (lambda: log.unprepared(CLAIMED, FAILURE), OF_JOB),
    "hook_failed": (lambda: log.hook_failed("on_success", CLAIMED, FAILURE), OF_JOB),
    "untold": (lambda: log.untold(CLAIMED, ValueError()), OF_JOB),
    "middleware_failed": (lambda: log.middleware_failed("shop.m", CLAIMED, FAILURE), OF_JOB),
    "receiver_failed": (
        lambda: log.receiver_failed(CLAIMED.id, CLAIMED.name, FAILURE),
        OF_WORKER | NAMED,
    ),
    "errback_failed": (
        lambda: log.errback_failed({}, log.of(CLAIMED), FAILURE),
        OF_JOB,
    ),
    "instrumentation_failed": (
        lambda: log.instrumentation_failed("shop.Tracer", FAILURE),
        OF_WORKER,
    ),
    "ticks_fired": (lambda: log.ticks_fired("nightly", [NEW], 0.0), OF_JOB | {"attempt": 0}),
    "failed": (lambda: log.failed("claiming", ValueError(), 1.0, away=False), OF_WORKER),
    "database_away": (lambda: log.database_away("claiming", OperationalError(), 1.0), OF_WORKER),
    "database_back": (lambda: log.database_back("claiming"), OF_WORKER),
    "connection_refused": (lambda: log.connection_refused(OperationalError(), 1.0), OF_WORKER),
    "jobs_left": (lambda: log.jobs_left(uuid.uuid4(), [CLAIMED.id]), OF_WORKER),
    "ticks_skipped": (lambda: log.ticks_skipped("nightly", 1, "missed"), OF_WORKER),
    "limit_unreadable": (lambda: log.limit_unreadable("key", ValueError()), OF_WORKER),
    "schedule_failed": (lambda: log.schedule_failed("nightly", "broken"), OF_WORKER),
    "schedule_left_out": (lambda: log.schedule_left_out("broken"), OF_WORKER),
}


def attributes(record: logging.LogRecord) -> dict[str, Any]:
    return {name: vars(record).get(name) for name in NEUTRAL}


@contextlib.contextmanager
def kept(name: str, *filters: logging.Filter) -> Iterator[Records]:
    """Keep the records of a logger, of every level, by a handler with these filters."""
    found: Records = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler, logger = Keep(), logging.getLogger(name)
    for each in filters:
        handler.addFilter(each)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def records() -> Iterator[Records]:
    """The records of the package."""
    with kept("django_jobs") as found:
        yield found


@pytest.fixture
def own() -> Iterator[Records]:
    """The records of the logger ``shop``, whose handler has the filter."""
    with kept("shop", log.JobFilter()) as found:
        yield found


# --- the package's own records --------------------------------------------------------------------


def makers() -> set[str]:
    """Return the functions of ``django_jobs.log`` that make a record themselves."""
    tree = ast.parse(inspect.getsource(log))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and any(isinstance(each, ast.Call) and is_logged(each) for each in ast.walk(node))
    }


LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def is_logged(call: ast.Call) -> bool:
    """Return whether the call makes a record with one of the package's loggers."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "_log_once"
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id in ("_log", "_jobs", "_worker", "_beat")
    )


@pytest.mark.once
def test_table_has_every_function_that_logs() -> None:
    assert makers() == set(LINES)


@pytest.mark.once
@pytest.mark.parametrize("name", LINES)
def test_record_names_its_job_and_worker(name: str, records: Records) -> None:
    call, wanted = LINES[name]
    with log.working_as("host-0"):
        call()
    (record,) = records
    assert attributes(record) == wanted


@pytest.mark.once
def test_record_about_another_job_has_nothing_of_the_running_one(records: Records) -> None:
    with log.working_as("host-0", CLAIMED):
        log.receiver_failed("another", "shop.jobs.sell", FAILURE)
        log.receiver_failed(CLAIMED.id, CLAIMED.name, FAILURE)
    another, same = map(attributes, records)
    assert another == OF_WORKER | {"job_id": "another", "job_name": "shop.jobs.sell"}
    assert same == OF_JOB


@pytest.mark.once
def test_every_logger_of_the_package_completes_its_records() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "getLogger"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    assert found - {"django", "django_jobs"} == set(LOGGERS)


@pytest.mark.once
def test_record_that_names_a_job_outside_the_log_has_its_attributes() -> None:
    """The running job's attributes come by themselves; another job's come as ``extra``."""
    found = [
        (path.name, node.lineno, {each.arg for each in node.keywords})
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "log"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_logged(node) and "job=%" in ast.dump(node)
    ]
    assert found
    assert [each for each in found if "extra" not in each[2]] == []


@pytest.mark.once
def test_name_that_a_row_holds_forges_no_line(records: Records) -> None:
    log.job_started(dataclasses.replace(CLAIMED, name="a\nb", queue="c\nd", waited=0.0))
    assert attributes(records[0])["job_name"] == "a\\nb"
    assert attributes(records[0])["queue"] == "c\\nd"


# --- the records of a job's code ------------------------------------------------------------------


@pytest.fixture
def buy(registered: Any) -> Any:
    @job(bind=True, queue="mail", max_retries=1)
    def buy(self: JobContext) -> None:
        logging.getLogger("shop").warning("bought")
        if self.request.retries == 0:
            raise self.retry(countdown=0)

    return buy


def test_run_jobs_names_each_attempt(buy: Any, own: Records, records: Records, db: None) -> None:
    handle = buy.delay()
    run_jobs()
    named = {"job_id": str(handle.id), "job_name": buy.name, "queue": "mail", "worker": "run_jobs"}
    assert [attributes(each) for each in own] == [
        named | {"attempt": 1},
        named | {"attempt": 2},
    ]
    of_jobs = [attributes(each) for each in records if each.name == "django_jobs.job"]
    assert of_jobs == [named | {"attempt": number} for number in (1, 1, 2, 2)]


@pytest.mark.once
def test_eager_jobs_are_named(buy: Any, own: Records, records: Records) -> None:
    result = buy.apply()
    named = {"job_id": str(result.id), "job_name": buy.name, "queue": "mail", "worker": "eager"}
    assert [attributes(each) for each in own] == [
        named | {"attempt": 1},
        named | {"attempt": 2},
    ]
    assert [attributes(each)["worker"] for each in records] == ["eager"] * 4


@pytest.mark.once
def test_eager_job_inside_a_job_takes_its_attributes_along(registered: Any, own: Records) -> None:
    @job
    def inner() -> None:
        logging.getLogger("shop").warning("inside")

    @job
    def outer() -> None:
        inner.apply()
        logging.getLogger("shop").warning("outside")

    outer.apply()
    assert [attributes(each)["job_name"] for each in own] == [inner.name, outer.name]


@pytest.mark.once
def test_record_outside_a_job_fits_every_format(own: Records) -> None:
    contextvars.Context().run(logging.getLogger("shop").warning, "outside")
    (record,) = own
    text = logging.Formatter("%(job_id)s %(job_name)s %(queue)s %(attempt)d %(worker)s").format
    assert text(record) == "- - - 0 -"


@pytest.mark.once
def test_extra_of_the_project_stays(own: Records) -> None:
    with log.working_as("host-0", CLAIMED):
        logging.getLogger("shop").warning("printed", extra={"queue": "tray 2"})
        logging.getLogger("shop").warning("printed", extra={"job_id": 17})
    first, second = map(attributes, own)
    assert first == OF_JOB | {"queue": "tray 2"}
    assert second == OF_WORKER | {"job_id": 17}


def test_hooks_and_receivers_name_their_job(
    registered: Any, own: Records, records: Records, db: None
) -> None:
    class Tells(JobContext):
        def on_success(self, *_: Any) -> None:
            logging.getLogger("shop").warning("hook")
            raise ValueError

    @job(base=Tells)
    def ends() -> None: ...

    def receiver(**_: Any) -> None:
        logging.getLogger("shop").warning("receiver")
        raise ValueError

    signals.job_success.connect(receiver, sender=ends)
    try:
        handle = ends.delay()
        run_jobs()
    finally:
        signals.job_success.disconnect(receiver, sender=ends)
    wanted = {
        "job_id": str(handle.id),
        "job_name": ends.name,
        "queue": "default",
        "attempt": 1,
        "worker": "run_jobs",
    }
    assert [(each.getMessage(), attributes(each)) for each in own] == [
        ("hook", wanted),
        ("receiver", wanted),
    ]
    broken = [each for each in records if each.levelno == logging.ERROR]
    assert [attributes(each) for each in broken] == [wanted, wanted]


def test_records_about_jobs_that_ran_nowhere_name_them(
    registered: Any, records: Records, db: None
) -> None:
    def receiver(**_: Any) -> None:
        raise ValueError

    for signal in (signals.job_enqueued, signals.job_failure):
        signal.connect(receiver)
    try:
        links = chain(jobs.fail.s("defect"), jobs.add.si(1))()
        run_jobs(raise_errors=False)
    finally:
        for signal in (signals.job_enqueued, signals.job_failure):
            signal.disconnect(receiver)
    broken = [attributes(each) for each in records if each.name == "django_jobs.signals"]
    assert {(each["job_name"], each["queue"], each["attempt"]) for each in broken} == {
        (jobs.fail.name, "default", 0),
        (jobs.add.name, "default", 0),
        (jobs.fail.name, "default", 1),
    }
    assert str(links.id) in {each["job_id"] for each in broken}


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("coroutine", [False, True])
def test_each_pool_names_its_jobs(
    registered: Any, own: Records, records: Records, worker: Any, take: Any, pool: str,
    coroutine: bool,
) -> None:  # fmt: skip
    def plain() -> None:
        logging.getLogger("shop").warning("bought")
        kept, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (kept - 1, most))

    async def in_a_thread() -> None:
        await sync_to_async(plain)()

    body: Any = in_a_thread if coroutine else plain
    ids = {
        str(job(name=name, queue="mail", max_retries=0)(body).delay().id): name
        for name in ("tests.first", "tests.second")
    }
    run_pool(worker, pool, take(queues=["mail"]), slots=2)
    wanted = [
        {"job_id": job_id, "job_name": name, "queue": "mail", "attempt": 1, "worker": "w"}
        for job_id, name in ids.items()
    ]
    started = [each for each in records if each.getMessage().startswith("started")]
    restored = [each for each in records if "resource limit" in each.getMessage()]
    for found in (own, started):
        assert sorted(map(attributes, found), key=lambda each: each["job_id"]) == wanted
    assert restored
    assert all(attributes(each) in wanted for each in restored)
