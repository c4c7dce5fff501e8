"""Rate limits: how they are written, who may start, and when the others may."""

from __future__ import annotations

import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs import job
from django_jobs.control import revoke
from django_jobs.db import clock, own_connection, unix_time
from django_jobs.define import key_values
from django_jobs.define.rates import Window, parse
from django_jobs.exceptions import UnknownJob
from django_jobs.limits.admission import Admission
from django_jobs.limits.overrides import set_limits, set_queue_limits
from django_jobs.limits.rate_windows import Line
from django_jobs.maintenance import promote
from django_jobs.models import Job, Limit, Queue, Reservation, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.values import Claimed
from django_jobs.worker.buffer import JobBuffer
from tests import jobs
from tests.waiting import LONG

database = pytest.mark.django_db
pytestmark = pytest.mark.usefixtures("registered")

Admit = Callable[..., list[Claimed]]

# --- how a rate is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "windows"),
    [
        (None, []),
        ("", []),
        ("10/s", [(10, 1)]),
        ("10/m", [(10, 60)]),
        ("100/h", [(100, 3600)]),
        ("1000/d", [(1000, 86_400)]),
        ("5", [(5, 1)]),
        (5, [(5, 1)]),
        (0.5, [(1, 2)]),
        ("0.5/m", [(1, 120)]),
        (2.5, [(2, 0.8)]),
        (("10/s", "1000/h"), [(10, 1), (1000, 3600)]),
        ("10/s, 1000/h", [(10, 1), (1000, 3600)]),
        ([2, "9/m"], [(2, 1), (9, 60)]),
    ],
)
def test_rate_is_read(rate: Any, windows: list[tuple[int, float]]) -> None:
    assert [tuple(window) for window in parse(rate)] == windows


@pytest.mark.parametrize(
    "rate",
    ["0", "0/s", 0, -1, "-1/s", "10/x", "10 / s", "ten", "10/s,", ",", [], [""], [None], [["1/s"]],
     True, {"1/s"}, 1e999, "nan", "1e3", float("nan")],
)  # fmt: skip
def test_impossible_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate_limit must be 'N/s'"):
        parse(rate)


@pytest.mark.parametrize(
    ("rate", "message"),
    [("10001/s", "at most 10000 starts in one window"), ("0.5/d", "windows of a day at most")],
)
def test_rate_beyond_what_is_kept_is_refused(rate: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(rate)


@pytest.mark.parametrize("model", [Limit, Queue])
def test_rate_of_a_row_is_validated(model: Any) -> None:
    with pytest.raises(ValidationError, match="rate_limit must be"):
        model(pk="job:x", rate_limit="10/x").clean_fields()


# --- the windows, as such -----------------------------------------------------------------------

SECONDS = st.floats(0, 3)


@settings(max_examples=150, derandomize=True)
@given(
    windows=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([1.0, 2.0, 5.0])), min_size=1, max_size=2
    ),
    batches=st.lists(st.tuples(SECONDS, st.integers(1, 6)), min_size=1, max_size=6),
    delays=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_no_window_has_more_starts_than_allowed(
    windows: list[tuple[int, float]], batches: list[tuple[float, int]], delays: list[float]
) -> None:
    limits = [Window(*window) for window in windows]
    world = World(limits, delays)
    now = 0.0
    for pause, number in batches:
        now += pause
        world.run_until(now)
        world.come(now, [uuid.uuid4() for _ in range(number)])
    world.run_until(float("inf"))
    starts = sorted(world.starts)
    assert len(starts) == sum(number for _pause, number in batches)
    for window in limits:
        assert fullest(starts, window.seconds) <= window.starts
    # Each job is looked at again at its time, and only if others were late a second time.
    assert world.looks <= len(starts) * (2 + max(delays) * 3 + len(limits))


def test_long_window_makes_no_start_of_a_short_one_late() -> None:
    line = Line("k", [Window(1, 1.0), Window(1_000, 3_600.0)])
    line.start(uuid.uuid4(), 0.0)
    assert 1.0 < line.slot(uuid.uuid4(), 0.0) < 1.1


def fullest(starts: list[float], seconds: float) -> int:
    """The most of the sorted *starts* in any window of so many seconds."""
    return max(
        bisect_left(starts, start + seconds - 1e-6) - number for number, start in enumerate(starts)
    )


class World:
    """Workers that are late, with the rows of one line in memory."""

    def __init__(self, windows: list[Window], delays: list[float]) -> None:
        self.windows, self.delays = windows, delays
        self.started: list[float] = []
        self.slots: dict[uuid.UUID, tuple[int, float, float]] = {}
        self.starts: list[float] = []
        self.looks = self.numbers = 0

    def come(self, now: float, coming: list[uuid.UUID]) -> None:
        line = Line("k", self.windows)
        line.before = sorted(at for at in self.started if at > now - line.longest)
        line.ahead = sorted((number, at) for number, at, _slot in self.slots.values())
        line.own = {one: self.slots[one][0] for one in coming if one in self.slots}
        for one in coming:
            self.looks += 1
            slot = line.slot(one, now)
            if slot > now:
                line.reserve(one, slot)
                self.numbers += 1
                number = line.own.get(one, self.numbers)
                self.slots[one] = (number, line.reserved[one], slot)
            else:
                line.start(one, now)
                self.slots.pop(one, None)
                self.started.append(line.started[one])
                delay = self.delays[self.looks % len(self.delays)]
                self.starts.append(now + delay * line.slack)

    def run_until(self, end: float) -> None:
        while self.slots:
            one, (_number, _at, slot) = min(self.slots.items(), key=lambda item: item[1][2])
            late = self.delays[self.looks % len(self.delays)] * 0.3
            if slot + late > end:
                return
            self.come(slot + late, [one])


# --- jobs ---------------------------------------------------------------------------------------


@job(rate_limit="3/m", name="tests.three")
def three(number: int = 0) -> int:
    return number


@job(rate_limit=["2/m", "3/h"], rate_limit_key=["user"], name="tests.two_windows")
def two_windows(user: int, number: int = 0) -> int:
    return number


@job(rate_limit="1/m", concurrency=1, name="tests.both")
def both(number: int = 0) -> int:
    return number


@job(
    rate_limit=1,
    rate_limit_key=["number", "user"],
    concurrency=1,
    concurrency_key=["user"],
    name="tests.two_keys",
)
def two_keys(user: int, number: int = 0) -> int:
    return number


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered.update(
        {function.name: function for function in (three, two_windows, both, two_keys)}
    )


@pytest.fixture
def admit(worker: Worker, take: Callable[..., list[Claimed]]) -> Admit:
    """Claim and admit for the worker; return what may start."""

    def admit(queues: tuple[str, ...] = ("default", "mail")) -> list[Claimed]:
        return Admission("default").admit(worker.pk, take(queues=queues))[0]

    return admit


def pass_by(seconds: float) -> None:
    """Let all that was written be so many seconds older, and promote what is due."""
    Reservation.objects.update(at=F("at") - seconds)
    for row in Job.objects.exclude(run_at=None):
        left = (row.run_at - Job.objects.values_list(clock("default"))[0][0]).total_seconds()
        Job.objects.filter(pk=row.pk).update(run_at=clock("default", left - seconds))
    promote.run_once("default")


def slots() -> dict[int, float]:
    """In how many seconds each scheduled job may run, by its first argument."""
    now = unix_time("default")
    rows = Job.objects.filter(status="SCHEDULED").order_by("run_at")
    return {row.args[-1]: row.run_at.timestamp() - now for row in rows}


def args_of(claimed: list[Claimed]) -> list[str]:
    return [one.args for one in claimed]


@database
def test_jobs_over_the_limit_get_later_times_in_order(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(8)])
    assert args_of(admit()) == ["[0]", "[1]", "[2]"]
    found = slots()
    assert list(found) == [3, 4, 5, 6, 7]
    assert all(59 < found[n] < 65 for n in (3, 4, 5))
    assert all(119 < found[n] < 130 for n in (6, 7))
    row = Job.objects.get(args=[3])
    assert (row.status, row.started_at) == ("SCHEDULED", None)


@database
def test_promoter_hears_of_later_times(
    admit: Admit, vendor: str, django_capture_on_commit_callbacks: Any
) -> None:
    three.delay_many([(n,) for n in range(5)])
    with (
        CaptureQueriesContext(connection) as captured,
        django_capture_on_commit_callbacks(execute=True),
    ):
        admit()
    told = [query["sql"] for query in captured if "pg_notify" in query["sql"]]
    assert bool(told) == (vendor == "postgresql")


@database
def test_later_ones_stand_behind(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(5)])
    admit()
    three.delay_many([(n,) for n in range(5, 8)])
    assert admit() == []
    found = slots()
    assert found[5] < 65
    assert min(found[6], found[7]) > 119


@database
def test_each_starts_at_its_time(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(7)])
    admit()
    pass_by(50)
    assert admit() == []
    pass_by(15)
    assert args_of(admit()) == ["[3]", "[4]", "[5]"]
    pass_by(65)
    assert args_of(admit()) == ["[6]"]


@database
def test_who_came_late_goes_before_who_came_later(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(9)])
    admit()
    pass_by(300)  # nobody was there to run them
    three.delay_many([(n,) for n in (10, 11)])
    assert args_of(admit()) == ["[3]", "[4]", "[5]"]
    found = slots()
    assert max(found[n] for n in (6, 7, 8)) < 65
    assert min(found[10], found[11]) > 119


@database
def test_all_windows_hold_for_each_key(admit: Admit) -> None:
    two_windows.delay_many([(user, n) for n in range(5) for user in (1, 2)])
    assert args_of(admit()) == ["[1,0]", "[2,0]", "[1,1]", "[2,1]"]
    found = slots()
    assert 59 < found[2] < 65
    assert min(found[3], found[4]) > 3599


@database
def test_every_attempt_is_a_start(worker: Worker, admit: Admit) -> None:
    three.delay_many([(0,), (1,)])
    outcomes = [execute(one, Environment()) for one in admit()]
    for outcome in outcomes:
        outcome.status, outcome.delay = "RETRY", 0.0
    record(worker.pk, outcomes, "default")
    promote.run_once("default")
    assert len(admit()) == 1


@database
def test_job_that_did_not_begin_keeps_its_position_in_line(worker: Worker, admit: Admit) -> None:
    three.delay_many([(n,) for n in range(5)])
    claimed = admit()
    release(worker.pk, claimed[:1], "default")
    assert args_of(admit()) == ["[0]"]
    assert Reservation.objects.filter(started=True).count() == 3


@database
def test_strays_keep_their_position_in_line(worker: Worker, admit: Admit) -> None:
    three.delay_many([(n,) for n in range(4)])
    admit()
    release_strays(worker.pk, (), "default")
    assert args_of(admit()) == ["[0]", "[1]", "[2]"]


@database
def test_revoked_job_leaves_its_time_to_others(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(6)])
    admit()
    revoke(list(Job.objects.filter(status="SCHEDULED").values_list("id", flat=True)))
    three.delay(9)
    admit()
    assert slots()[9] < 65


@database
def test_permit_is_left_while_a_job_waits_for_its_time(worker: Worker, admit: Admit) -> None:
    both.delay_many([(0,), (1,), (2,)])
    (first,) = admit()
    record(worker.pk, [execute(first, Environment())], "default")
    assert admit() == []
    assert admit() == []
    assert len(slots()) == 2


@database
def test_queue_has_a_rate(admit: Admit, settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"RATE_LIMIT": "2/m"}}}
    jobs.send.delay_many([(n,) for n in range(3)])
    assert len(admit()) == 2
    Queue.objects.create(name="mail", rate_limit="5/m")
    jobs.send.delay_many([(n,) for n in range(4)])
    assert len(admit()) == 2


@database
def test_unreadable_rate_of_a_row_is_told_and_left_out(
    admit: Admit, caplog: pytest.LogCaptureFixture
) -> None:
    Queue.objects.create(name="mail", rate_limit="soon")
    jobs.send.delay(0)
    assert len(admit()) == 1
    assert "limit left out key='queue:mail'" in caplog.text


@database
@pytest.mark.parametrize("scheduled", [0, 3_000])
def test_batch_costs_the_same_however_long_the_line(
    worker: Worker, take: Callable[..., list[Claimed]], scheduled: int
) -> None:
    admission = Admission("default")
    three.delay_many([(n,) for n in range(scheduled + 3)])
    while claimed := take(limit=1000):
        admission.admit(worker.pk, claimed)
    three.delay_many([(n,) for n in range(500)])
    claimed = take(limit=500)
    with CaptureQueriesContext(connection) as captured:
        assert admission.admit(worker.pk, claimed) == ([], [])
    # SQLite writes a batch of rows, and each outcome, by itself.
    several = {"sqlite": 20}.get(connection.vendor, 16)
    assert len(captured) <= several, [query["sql"][:90] for query in captured]


# --- at run time --------------------------------------------------------------------------------


@database
def test_new_rate_gives_new_times(admit: Admit) -> None:
    three.delay_many([(n,) for n in range(9)])
    admit()
    set_limits("tests.three", rate_limit="6/m")
    assert max(slots().values()) < 2
    pass_by(2)
    assert args_of(admit()) == ["[3]", "[4]", "[5]"]
    set_limits("tests.three", rate_limit=None)
    assert not Limit.objects.exists()


@database
@pytest.mark.parametrize("key", [{"user": 1}, 1])
def test_rate_of_one_key(admit: Admit, key: Any) -> None:
    set_limits("tests.two_windows", rate_limit="1/m", key=key)
    two_windows.delay_many([(user, n) for n in range(2) for user in (1, 2)])
    assert args_of(admit()) == ["[1,0]", "[2,0]", "[2,1]"]


@database
def test_key_of_several_names_is_given_in_any_order(admit: Admit) -> None:
    set_limits("tests.two_keys", rate_limit="1/d", key={"user": 1, "number": 2})
    assert Limit.objects.get().key == key_values.of_value(
        "tests.two_keys", {"number": 2, "user": 1}
    )


@database
def test_rate_of_a_queue_and_of_a_function_without_one(admit: Admit) -> None:
    set_queue_limits("mail", rate_limit=["1/m", "9/h"])
    assert Queue.objects.get().rate_limit == "1/m, 9/h"
    set_limits("tests.jobs.add", rate_limit=1)
    jobs.send.delay_many([(n,) for n in range(2)])
    jobs.add.delay_many([(1,), (2,)])
    assert len(admit()) == 2


@database
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: set_limits("gone", rate_limit="1/s"), UnknownJob, "No job function is named"),
        (lambda: set_limits("tests.three", rate_limit="1/s", key=1), ValueError, "Leave key out"),
        (lambda: set_limits("tests.three", rate_limit="1"), None, ""),
        (lambda: set_limits("tests.three", rate_limit="x"), ValueError, "rate_limit must be"),
        (lambda: set_limits("tests.three", concurrency=0), ValueError, "concurrency must be"),
        (lambda: set_limits("tests.three"), ValueError, "Give concurrency, rate_limit or both"),
        (lambda: set_queue_limits("@", rate_limit="1/s"), ValueError, "queue must not begin"),
        (lambda: set_limits("tests.two_windows", concurrency=1, key=1), ValueError,
         "tests.two_windows has no concurrency_key, so key cannot be"),
        (lambda: set_limits("tests.two_keys", rate_limit="1/m", key=1), ValueError,
         "two_keys names number, user: key must be a dict of these, got an int"),
        (lambda: set_limits("tests.two_keys", rate_limit="1/m", key={"user": 1}), ValueError,
         "must be a dict of these"),
        (lambda: set_limits("tests.two_keys", rate_limit="1/m", concurrency=1,
                            key={"number": 1, "user": 1}), ValueError, "one at a time"),
    ],
)  # fmt: skip
def test_impossible_limit_is_refused(
    call: Callable[[], None], error: type[Exception] | None, message: str
) -> None:
    if error is None:
        call()
        return
    with pytest.raises(error, match=message):
        call()
    assert not Limit.objects.exists()
    assert not Queue.objects.exists()


# --- in a worker --------------------------------------------------------------------------------


@database
def test_job_that_comes_too_late_is_not_begun(admit: Admit) -> None:
    three.delay_many([(0,), (1,)])
    first, second = admit()
    assert first.begin_by is not None
    first.begin_by = 0.0
    woken: list[bool] = []
    buffer = JobBuffer(lambda: woken.append(True), None)
    buffer.put([first, second])
    assert buffer.take(0, wait=False) is second
    assert woken
    assert (first.id, first.claims) in buffer.held()
    assert buffer.counts() == (1, 1, 0)
    assert buffer.withdraw_late() == [first]
    assert buffer.counts() == (0, 1, 0)


@pytest.mark.django_db(transaction=True)
def test_racing_workers_keep_the_windows(new_worker: Callable[..., Worker]) -> None:
    @job(rate_limit="10/s")
    def body() -> None: ...

    body.delay_many([() for _ in range(25)])
    errors: list[BaseException] = []
    taken: list[float] = []
    idle = threading.Event()

    def work(worker: Worker) -> None:
        own_connection("default")
        admission, buffer = Admission("default"), JobBuffer(lambda: None, None)
        try:
            while not errors and Job.objects.exclude(status="SUCCESS").exists():
                promote.run_once("default")
                claimed, _ = claim(worker.pk, ["default"], 4, "default")
                buffer.put(admission.admit(worker.pk, claimed)[0])
                while one := buffer.take(0, wait=False):
                    taken.append(time.time())
                    buffer.end(0, execute(one, Environment()))
                if ended := buffer.ended():
                    record(worker.pk, ended, "default")
                    buffer.recorded(len(ended))
                release(worker.pk, buffer.withdraw_late(), "default")
                if not claimed:
                    # Otherwise the loops leave no other process the time to be punctual.
                    idle.wait(0.01)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(new_worker(3600),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    starts = sorted(row.started_at.timestamp() for row in Job.objects.all())
    assert len(starts) == 25
    assert fullest(sorted(taken), 0.9) <= 10
    # A thread that is stopped between the buffer and the body begins later than it may.
    assert fullest(starts, 0.5) <= 10


@job(rate_limit="1/s", name="tests.a_second")
def a_second() -> None: ...


@job(rate_limit="1/m", name="tests.a_minute")
def a_minute() -> None: ...


def test_each_limit_forgets_starts_by_its_own_window(
    registered: dict[str, Any], admit: Admit
) -> None:
    registered.update({function.name: function for function in (a_second, a_minute)})
    a_minute.delay()
    a_second.delay()
    assert len(admit()) == 2
    Reservation.objects.update(at=F("at") - 10)
    a_minute.delay()
    a_second.delay()
    assert [one.name for one in admit()] == [a_second.name]


def test_admitted_job_must_start_within_its_shortest_window(
    registered: dict[str, Any], admit: Admit, settings: Any
) -> None:
    registered[a_second.name] = a_second
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"RATE_LIMIT": "100/h"}}}
    a_second.delay()
    (admitted,) = admit()
    assert admitted.begin_by is not None
    assert admitted.begin_by <= time.monotonic() + 0.05
