"""``keep_log``: what the code of an attempt logs is kept with the attempt's record."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_jobs import AsyncResult, Ignore, Reject, Snooze, current_job, job
from django_jobs.define.context import JobContext
from django_jobs.define.option_problems import MOST_LOG_LINES
from django_jobs.maintenance import prune
from django_jobs.models import Attempt, AttemptLog, Job, Worker
from django_jobs.run import running_logs
from django_jobs.run.attempt_rows import KEPT_LOGS
from django_jobs.run.execute import Environment, execute
from django_jobs.run.kept_log import DEFAULT_LINES, LONGEST, MOST_BYTES
from django_jobs.run.record import record
from django_jobs.run.redirect_output import redirected
from django_jobs.run.running_logs import save_logs
from django_jobs.testing import override_jobs, run_jobs
from django_jobs.values import Claimed, Outcome
from tests.worker.test_isolation import run_pool

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("registered", "levels"),
]

Work = Callable[..., list[Outcome]]
_log = logging.getLogger("shop.orders")


@pytest.fixture
def levels() -> Iterator[None]:
    """Let the loggers of the tests pass INFO, as in a worker."""
    _log.setLevel("INFO")
    yield
    _log.setLevel("NOTSET")


def texts(of: AsyncResult[Any] | AttemptLog) -> list[str]:
    return [line.text for line in (of.read() if isinstance(of, AttemptLog) else of.log)]


def logs() -> list[tuple[int, str, list[str]]]:
    """(attempt, next status, lines) of each log, the oldest first."""
    return [(row.attempt, row.status, texts(row)) for row in AttemptLog.objects.order_by("id")]


@job(keep_log=True, sensitive=["pin_of"])
def tell(*words: str, pin_of: str = "", **others: str) -> None:
    for word in words:
        _log.info("told %s", word)


# --- every outcome ------------------------------------------------------------------------------


def test_success_keeps_its_lines(work: Work) -> None:
    result = tell.delay("one", "two")
    work()
    (line, _other) = result.log
    assert texts(result) == ["told one", "told two"]
    assert (line.level, line.logger) == ("INFO", "shop.orders")
    row, kept = result.job, AttemptLog.objects.get()
    assert (kept.attempt, kept.claims, kept.status) == (1, row.claims, "SUCCESS")
    assert (kept.worker_id, kept.left_out) == (row.worker_id, 0)
    assert kept.started_at is not None
    assert kept.ended_at is not None
    assert (line.time - kept.started_at).total_seconds() < 60
    assert not Attempt.objects.exists()


def test_each_attempt_has_its_own_log(drain: Work) -> None:
    @job(keep_log=True, autoretry_for=[ValueError], max_retries=1)
    def fragile() -> None:
        _log.warning("attempt %d", current_job.request.attempt)
        raise ValueError("no")

    result = fragile.delay()
    drain()
    Job.objects.update(status="PENDING", run_at=None)
    drain()
    assert logs() == [(1, "RETRY", ["attempt 1"]), (2, "FAILURE", ["attempt 2"])]
    pairs = set(Attempt.objects.values_list("claims", "status"))
    assert set(AttemptLog.objects.values_list("claims", "status")) == pairs
    assert texts(result) == ["attempt 2"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Snooze(60), "SCHEDULED"),
        (Ignore(), "SUCCESS"),
        (Reject("no"), "FAILURE"),
        (Reject(requeue=True), "SCHEDULED"),
        (SystemExit(3), "FAILURE"),
    ],
)
def test_every_end_keeps_the_lines(work: Work, ending: BaseException, status: str) -> None:
    @job(keep_log=True)
    def ends() -> None:
        _log.info("before")
        raise ending

    ends.delay()
    work()
    assert logs() == [(1, status, ["before"])]


def test_result_that_cannot_be_stored_keeps_the_lines(work: Work) -> None:
    @job(keep_log=True)
    def returns_an_object() -> object:
        _log.info("before")
        return object()

    returns_an_object.delay()
    work()
    assert logs() == [(1, "FAILURE", ["before"])]


@pytest.mark.django_db(transaction=True)
def test_atomic_success_and_its_log_are_one_transaction(work: Work) -> None:
    @job(keep_log=True, atomic=True)
    def buy(fails: bool) -> None:
        _log.info("bought")
        if fails:
            raise ValueError("no")

    buy.delay(False)
    buy.delay(True)
    work()
    assert logs() == [(1, "SUCCESS", ["bought"]), (1, "FAILURE", ["bought"])]


def test_dropped_outcome_keeps_no_lines(
    worker: Worker, new_worker: Callable[..., Worker], take: Callable[..., list[Claimed]]
) -> None:
    tell.delay("one")
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    assert record(new_worker().pk, [outcome], "default") == []
    assert not AttemptLog.objects.exists()
    assert record(worker.pk, [outcome], "default") == [outcome]
    assert record(worker.pk, [outcome], "default") == [outcome]
    assert logs() == [(1, "SUCCESS", ["told one"])]


def test_rolled_back_record_keeps_no_lines(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    tell.delay("one")
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    with transaction.atomic():
        record(worker.pk, [outcome], "default")
        transaction.set_rollback(True)
    assert not AttemptLog.objects.exists()


# --- what it costs ------------------------------------------------------------------------------


def recorded(worker: Worker, take: Callable[..., list[Claimed]]) -> list[str]:
    outcomes = [execute(claimed, Environment()) for claimed in take()]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        record(worker.pk, outcomes, "default")
    return [query["sql"].split()[0] for query in queries]


def test_logs_of_many_jobs_are_one_statement(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    @job
    def hot() -> None:
        _log.info("not kept")

    for function in (hot, tell):
        function.delay_many([()] * 5)
    assert recorded(worker, take) == ["UPDATE"]  # nothing was logged by a job with keep_log
    hot.delay_many([()] * 5)
    assert recorded(worker, take) == ["UPDATE"]
    tell.delay_many([("word",)] * 5)
    statements = [word for word in recorded(worker, take) if word in ("UPDATE", "INSERT")]
    assert statements == ["UPDATE", "INSERT"]
    assert len(logs()) == 5


# --- while it runs ------------------------------------------------------------------------------


class Running:
    """A job that runs in a thread until :meth:`end`."""

    def __init__(self, worker: Worker) -> None:
        self._worker_id = worker.pk
        self._lines: queue.Queue[str] = queue.Queue()
        self._contexts: list[JobContext] = []

    def begin(self, claimed: Claimed, threads: ThreadPoolExecutor) -> None:
        environment = Environment(begins=lambda each: self._contexts.append(each.context))
        self._outcome = threads.submit(execute, claimed, environment)

    def body(self) -> None:
        while line := self._lines.get():
            _log.info(line)
            self._lines.task_done()

    def say(self, line: str) -> None:
        self._lines.put(line)
        self._lines.join()

    def save(self, by: uuid.UUID | None = None) -> list[str]:
        """Save what it has logged; return the statements that write."""
        with CaptureQueriesContext(connection) as queries:
            save_logs(by or self._worker_id, self._contexts, "default")
        words = [query["sql"].split()[0] for query in queries]
        return [word for word in words if word in ("SELECT", "INSERT", "UPDATE")]

    def end(self) -> Outcome:
        self._lines.put("")
        return self._outcome.result()


@pytest.fixture
def running(
    worker: Worker, take: Callable[..., list[Claimed]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    monkeypatch.setattr(running_logs, "FIRST_SECONDS", 0.0)

    @job(keep_log=True)
    def body() -> None:
        started.body()

    body.delay()
    with ThreadPoolExecutor(1) as threads:
        started = Running(worker)
        started.begin(*take(), threads)
        yield started
        started.end()


def test_running_job_shows_its_lines_and_has_one_log_in_the_end(
    running: Running, worker: Worker
) -> None:
    running.say("one")
    assert running.save() == ["SELECT", "UPDATE", "INSERT"]
    assert logs() == [(1, "STARTED", ["one"])]
    row = AttemptLog.objects.get()
    assert row.started_at is not None
    assert (row.ended_at, row.worker_id) == (None, worker.pk)
    running.say("two")
    assert running.save() == ["SELECT", "UPDATE"]
    assert running.save() == []
    assert logs() == [(1, "STARTED", ["one", "two"])]
    record(worker.pk, [running.end()], "default")
    assert logs() == [(1, "SUCCESS", ["one", "two"])]


def test_lines_are_saved_only_of_jobs_that_are_the_workers_and_have_not_ended(
    running: Running, worker: Worker, new_worker: Callable[..., Worker]
) -> None:
    running.say("one")
    running.save(by=new_worker().pk)
    Job.objects.update(status="REVOKED")
    running.save()
    assert logs() == []
    Job.objects.update(status="STARTED")
    record(worker.pk, [running.end()], "default")
    running.save()
    assert logs() == [(1, "SUCCESS", ["one"])]


@pytest.mark.once
def test_lines_of_a_short_job_are_saved_at_its_end_only(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_logs, "FIRST_SECONDS", 3600.0)
    running.say("one")
    assert running.save() == []


# --- which lines --------------------------------------------------------------------------------


@pytest.mark.once
def test_loggers_and_filters_decide_and_debug_is_never_kept(work: Work) -> None:
    apart = logging.getLogger("shop.apart")
    apart.propagate, apart.level = False, logging.DEBUG
    filtered = logging.getLogger("shop.filtered")
    filtered.addFilter(lambda record: False)
    quiet = logging.getLogger("shop.quiet")
    quiet.setLevel("ERROR")

    @job(keep_log=True)
    def talk() -> None:
        apart.info("apart")
        apart.debug("debug")
        filtered.error("filtered")
        quiet.warning("quiet")
        quiet.error("loud")

    result = talk.delay()
    work()
    assert texts(result) == ["apart", "loud"]


@pytest.mark.once
def test_error_of_a_record_is_a_part_of_its_line(work: Work) -> None:
    @job(keep_log=True)
    def mend(pin: str) -> None:
        try:
            int(pin)
        except ValueError:
            _log.exception("cannot mend")
        _log.info("gone", exc_info=True)
        _log.info("from here", stack_info=True)

    result = mend.delay("four1234")
    work()
    first, second, third = texts(result)
    assert first.startswith("cannot mend\nTraceback (most recent call last):\n")
    assert first.rstrip().endswith("ValueError: invalid literal for int() with base 10: '********'")
    assert second == "gone"
    assert third.startswith("from here\nStack (most recent call last):\n")


@pytest.mark.once
def test_lines_of_other_jobs_and_of_ends_are_not_kept(work: Work) -> None:
    @job
    def inner() -> None:
        _log.info("inner")

    @job(keep_log=True)
    def outer() -> None:
        inner.apply()
        _log.info("outer")
        thread = threading.Thread(target=_log.info, args=["a thread of its own"])
        thread.start()
        thread.join()

    result = outer.delay()
    work()
    assert texts(result) == ["outer"]
    _log.info("no job runs")
    assert logs() == [(1, "SUCCESS", ["outer"])]


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
@pytest.mark.parametrize("coroutine", [False, True])
def test_each_pool_tells_the_jobs_apart(
    worker: Worker, take: Callable[..., Any], pool: str, coroutine: bool
) -> None:
    slots = 2 if pool in ("threads", "asyncio") else 1
    turn = threading.Barrier(slots)

    def say(name: str) -> None:
        _log.info("%s begins", name)
        turn.wait()
        _log.info("%s ends", name)

    for name in ("one", "two"):

        def plain(name: str = name) -> None:
            say(name)

        async def in_threads(name: str = name) -> None:
            await sync_to_async(say)(name)
            await asyncio.to_thread(_log.info, "%s in a thread", name)

        body: Any = in_threads if coroutine else plain
        job(name=f"tests.kept.{name}", keep_log=True)(body).delay()
    run_pool(worker, pool, take(), slots)
    more = ["in a thread"] if coroutine else []
    assert sorted(lines for _number, _status, lines in logs()) == [
        [f"{name} {what}" for what in ("begins", "ends", *more)] for name in ("one", "two")
    ]


@pytest.mark.once
def test_print_is_kept_where_it_is_logged(work: Work) -> None:
    @job(keep_log=True)
    def printing() -> None:
        print("a line\nand an end", end="")  # noqa: T201

    logging.getLogger("django_jobs.output").setLevel("INFO")
    result = printing.delay()
    with redirected("INFO"):
        work()
    assert texts(result) == ["a line", "and an end"]


@pytest.mark.once
def test_thread_that_outlives_the_attempt_changes_nothing(work: Work) -> None:
    go, threads = threading.Event(), []

    @job(keep_log=True)
    def leave() -> None:
        def late() -> None:
            go.wait()
            _log.info("late")

        threads.append(threading.Thread(target=contextvars.copy_context().run, args=[late]))
        threads[0].start()
        _log.info("in time")

    leave.delay()
    work()
    go.set()
    threads[0].join()
    assert logs() == [(1, "SUCCESS", ["in time"])]


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(("lines", "kept"), [(True, DEFAULT_LINES), (3, 3)])
def test_last_lines_are_kept(work: Work, lines: Any, kept: int) -> None:
    @job(keep_log=lines)
    def count(to: int) -> None:
        for number in range(to):
            _log.info("%d", number)

    count.delay(kept + 7)
    work()
    (row,) = AttemptLog.objects.all()
    assert texts(row) == [str(number) for number in range(7, kept + 7)]
    assert row.left_out == 7


def test_long_lines_are_cut_and_so_is_the_log(work: Work) -> None:
    @job(keep_log=MOST_LOG_LINES)
    def flood() -> None:
        for _ in range(60):
            _log.info("b%se", "𝄞" * 2 * LONGEST)

    flood.delay()
    work()
    (row,) = AttemptLog.objects.all()
    stored = AttemptLog.objects.extra(select={"text": "log_lines"}).values_list("text", flat=True)[
        0
    ]
    assert len(str(stored)) <= MOST_BYTES + 2
    assert 1 <= len(row.log_lines) < 60
    assert row.left_out == 60 - len(row.log_lines)
    text = texts(row)[0]
    assert (text[0], text[-1]) == ("b", "e")
    assert "characters cut" in text
    assert len(text) < LONGEST + 50


def test_job_keeps_the_logs_of_its_newest_attempts(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    tell.delay("again")
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    AttemptLog.objects.bulk_create(
        AttemptLog(job_id=claimed.id, attempt=1, claims=number) for number in range(KEPT_LOGS + 5)
    )
    claimed.claims = KEPT_LOGS + 5
    Job.objects.update(claims=claimed.claims)
    record(worker.pk, [outcome], "default")
    kept = AttemptLog.objects.order_by("id").values_list("claims", flat=True)
    assert list(kept) == list(range(6, KEPT_LOGS + 6))


def test_logs_are_deleted_with_their_job(work: Work, worker: Worker) -> None:
    for word in ("pruned", "forgotten"):
        tell.delay(word)
    work()
    pruned, forgotten = Job.objects.order_by("id")
    Job.objects.filter(pk=pruned.pk).update(prune_at="2000-01-01T00:00:00Z")
    assert prune.run_once("default", worker.pk) == 1
    assert [lines for _number, _status, lines in logs()] == [["told forgotten"]]
    AsyncResult[Any](forgotten.pk).forget()
    assert logs() == []


# --- texts --------------------------------------------------------------------------------------


@pytest.mark.once
def test_secrets_are_blanked_also_where_a_line_is_cut(work: Work) -> None:
    cut = f"{'x' * (LONGEST // 4 - 15)}hunter2-abc{'y' * LONGEST}"
    result = tell.delay("hunter2-abc", cut, pin_of="hunter2-abc")
    work()
    first, second = texts(result)
    assert first == "told ********"
    assert "characters cut" in second
    assert "hunte" not in second


@pytest.mark.once
def test_secrets_that_the_body_has_itself_are_blanked_by_their_names(work: Work) -> None:
    @job(keep_log=True, sensitive=["answer"])
    def visit() -> None:
        _log.info("https://ann:open-sesame@example.com/?token=t0k3n&answer=42&page=2")
        _log.info('{"password": "swordfish"}')
        _log.info("refused\nDETAIL:  Failing row contains (1, swordf).")

    result = visit.delay()
    work()
    hidden = "*" * 8
    url = f"https://ann:{hidden}@example.com/?token={hidden}&answer={hidden}&page=2"
    row = "refused\nDETAIL:  Failing row contains (not shown)"
    assert texts(result) == [url, hidden, row]


def test_any_text_is_stored(work: Work) -> None:
    @job(keep_log=True)
    def strange() -> None:
        _log.info("𝄞 ü nul \0 bell \a half \ud800 \x1b[31m\r‮")
        logging.getLogger("a\nb\0").error("two\nlines")

    result = strange.delay()
    work()
    assert texts(result) == [
        "𝄞 ü nul \\x00 bell \\x07 half \\ud800 \\x1b[31m\\x0d\\x202e",
        "two\nlines",
    ]
    assert [line.logger for line in result.log] == ["shop.orders", "a b\\x00"]


@pytest.mark.once
def test_line_whose_arguments_do_not_fit_is_kept_without_them(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job(keep_log=True)
    def wrong() -> str:
        _log.info("%d", "no number")
        _log.info("next")
        return "done"

    monkeypatch.setattr(_log, "propagate", False)  # pytest's own handler would raise
    result = wrong.delay()
    work()
    told = "%d (formatting its arguments raised TypeError)"
    assert (result.get(timeout=0), texts(result)) == ("done", [told, "next"])


def test_row_that_was_edited_by_hand_is_read(work: Work) -> None:
    result = tell.delay("one")
    work()
    for lines in ({"a": 1}, [["x"], 5, [None, "INFO", "a", "b"], [1e300, "INFO", "a", "b"]]):
        AttemptLog.objects.update(log_lines=lines)
        assert result.log == []


# --- in this process ----------------------------------------------------------------------------


@pytest.mark.once
def test_eager_job_has_its_log() -> None:
    with override_jobs(EAGER=True):
        result = tell.delay("one")
    assert texts(result) == ["told one"]
    assert tell.apply().log == []
    assert not AttemptLog.objects.exists()


def test_run_jobs_keeps_logs() -> None:
    result = tell.delay("one")
    run_jobs(at=result.job.enqueued_at)
    assert texts(result) == ["told one"]
    row = AttemptLog.objects.get()
    assert row.ended_at == result.job.ended_at


@pytest.mark.once
def test_option_is_given_by_a_glob(registered: Any, work: Work) -> None:
    with override_jobs(JOB_OPTIONS={"tests.glob.*": {"keep_log": 1}}):

        @job(name="tests.glob.one")
        def one() -> None:
            _log.info("first")
            _log.info("last")

    result = one.delay()
    work()
    assert texts(result) == ["last"]
