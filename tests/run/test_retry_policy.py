"""How often and when a job is retried, as its call, a function or its exception says."""

from __future__ import annotations

import datetime
import email.message
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_jobs import Retry, chain, job
from django_jobs.db import unix_time
from django_jobs.define.retry_after import LONGEST_WAIT, retry_after
from django_jobs.display.attempt_numbers import attempt_line
from django_jobs.display.job_text import with_argument_texts
from django_jobs.models import Job
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Run = Callable[..., Outcome]
DAY = datetime.timedelta(days=1)
SOON = datetime.timedelta(minutes=5)


class Busy(Exception):
    """A service's answer that asks for a later try."""

    def __init__(self, retry_after: Any = None, headers: Any = None, own: Any = None) -> None:
        super().__init__("busy")
        if retry_after is not None:
            self.retry_after = retry_after
        if headers is not None:
            self.response = Response(headers)
        if own is not None:
            self.headers = own


class Response:
    def __init__(self, headers: Any) -> None:
        self.headers = headers


@job(name="tests.policy.busy", autoretry_for=(Exception,), retry_jitter=False)
def busy() -> None:
    raise ValueError("busy")


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered[busy.name] = busy


def again() -> None:
    Job.objects.filter(status="RETRY").update(status="PENDING")


def statuses_of_attempts(work: Callable[..., list[Outcome]], most: int = 10) -> list[str]:
    found: list[str] = []
    while len(found) < most and (outcomes := work()):
        found += [outcome.status for outcome in outcomes]
        again()
    return found


# --- options of a call --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_call_says_how_often(work: Callable[..., list[Outcome]], limit: int) -> None:
    busy.apply_async(max_retries=limit)
    assert statuses_of_attempts(work) == ["RETRY"] * limit + ["FAILURE"]
    assert Job.objects.get().options == {"max_retries": limit}


def test_none_is_the_limit_of_the_job_function(work: Callable[..., list[Outcome]]) -> None:
    busy.apply_async(max_retries=None, retry_backoff=None)
    assert Job.objects.get().options is None
    assert statuses_of_attempts(work) == ["RETRY"] * 3 + ["FAILURE"]


@pytest.mark.parametrize(
    ("backoff", "delays"), [(0.5, [0.5, 1, 2]), (True, [2, 4, 8]), (False, [180, 180, 180])]
)
def test_call_says_how_long(
    work: Callable[..., list[Outcome]], backoff: Any, delays: list[float]
) -> None:
    busy.apply_async(retry_backoff=backoff)
    found = []
    for _ in range(3):
        found += [outcome.delay for outcome in work()]
        again()
    assert found == delays


def test_limit_of_the_call_is_for_retries_by_hand(work: Callable[..., list[Outcome]]) -> None:
    limits = []

    @job(bind=True)
    def body(self: Any) -> None:
        limits.append(self.max_retries)
        self.retry(exc=OSError("away"))

    body.apply_async(max_retries=1)
    assert statuses_of_attempts(work) == ["RETRY", "FAILURE"]
    assert limits == [1, 1]


def test_calls_of_delay_many_and_signatures_have_them(drain: Any) -> None:
    busy.delay_many([()], max_retries=0)
    chain(jobs.add.s(1, 2), busy.si().set(max_retries=0, retry_backoff=5.0)).apply_async()
    chain(busy.si()).set(max_retries=0).apply_async()
    drain()
    rows = Job.objects.filter(name=busy.name)
    assert {(row.status, row.retries) for row in rows} == {("FAILURE", 0)}
    assert rows.count() == 3


def test_eager_job_has_the_limit_of_its_call() -> None:
    result = busy.apply(max_retries=1)
    assert (result.status, result.job.retries) == ("FAILURE", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number ≥ 0 or None, got -1"),
        ({"max_retries": 1.5}, "max_retries must be a whole number"),
        ({"max_retries": True}, "max_retries must be a whole number"),
        ({"retry_backoff": 0}, "retry_backoff must be a bool or seconds > 0"),
        ({"retry_backoff": "5"}, "retry_backoff must be a bool or seconds > 0"),
        (
            {"retry_backoff": len},
            "got a function, which no row can hold. Give it",
        ),
    ],
)
@pytest.mark.parametrize("how", ["call", "signature"])
def test_impossible_policy_writes_nothing(options: Any, message: str, how: str) -> None:
    with pytest.raises(ValueError, match=message):
        if how == "call":
            busy.apply_async(**options)
        else:
            chain(jobs.add.s(1), busy.si().set(**options)).apply_async()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": "5"}, "max_retries must be a whole number, the row has '5'."),
        ({"retry_backoff": []}, "retry_backoff must be true, false or seconds, the row has []."),
    ],
)
def test_row_that_was_edited_into_no_policy_fails(work: Any, options: Any, message: str) -> None:
    busy.delay()
    Job.objects.update(options=options)
    work()
    row = Job.objects.get()
    assert (row.status, row.error_message) == ("FAILURE", message)


def test_lists_show_the_limit_of_the_call() -> None:
    busy.apply_async(max_retries=8)
    busy.delay()
    every = [*with_argument_texts(Job.objects.all(), 1_000), *Job.objects.all()]
    assert [attempt_line(row) for row in sorted(every, key=lambda row: row.pk)] == [
        *["0/9"] * 2,
        *["0/4"] * 2,
    ]


# --- a function ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [3.0, datetime.timedelta(seconds=3)])
def test_function_says_how_long(work: Callable[..., list[Outcome]], wait: Any) -> None:
    seen: list[tuple[int, str]] = []

    def backoff(retries: int, error: BaseException) -> Any:
        seen.append((retries, type(error).__name__))
        return wait * 1000 ** (retries + 1)

    @job(autoretry_for=(OSError,), retry_backoff=backoff)
    def body() -> None:
        raise ConnectionError

    body.delay()
    delays = []
    for _ in range(2):
        delays += [outcome.delay for outcome in work()]
        again()
    # Neither retry_backoff_max nor jitter changes them.
    assert delays == [3_000, 3_000_000]
    assert seen == [(0, "ConnectionError"), (1, "ConnectionError")]


@pytest.mark.parametrize("wait", [None, -1, float("nan"), "5", OSError("the password is hunter2")])
def test_function_that_fails_is_logged_and_the_job_waits_as_usual(
    run: Run, caplog: pytest.LogCaptureFixture, wait: Any
) -> None:
    def backoff(retries: int, error: BaseException) -> Any:
        if isinstance(wait, Exception):
            raise wait
        return wait

    @job(autoretry_for=(OSError,), retry_backoff=backoff, retry_jitter=False)
    def body(password: str) -> None:
        raise ConnectionError

    outcome = run(body, "hunter2")
    assert (outcome.status, outcome.delay) == ("RETRY", 2)
    (line,) = [each.getMessage() for each in caplog.records if "backoff" in each.getMessage()]
    assert line.startswith(f"retry_backoff failed name={body.name} id={Job.objects.get().pk} ")
    assert "hunter2" not in line


async def no_plain_function(retries: int, error: BaseException) -> float:
    return 5.0


@pytest.mark.parametrize("backoff", [lambda retries: 5.0, no_plain_function, "5", Busy])
def test_function_that_cannot_be_called_is_refused(backoff: Any) -> None:
    if backoff is Busy:
        job(retry_backoff=backoff)(lambda_free)
        return
    with pytest.raises(ImproperlyConfigured, match=r"or a function of \(retries, exception\)"):
        job(retry_backoff=backoff)(lambda_free)


def lambda_free() -> None: ...


# --- the exception ------------------------------------------------------------------------------


def http_date(moment: datetime.datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


def message(**headers: str) -> email.message.Message:
    """Headers as :mod:`urllib` has them."""
    found = email.message.Message()
    for name, value in headers.items():
        found[name.replace("_", "-")] = value
    return found


NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
LATER = NOW + SOON


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (Busy(30), 30.0),
        (Busy(1.5), 1.5),
        (Busy(0), 0.0),
        (Busy(-5), 0.0),
        (Busy(SOON), 300.0),
        (Busy("30"), 30.0),
        (Busy(1e9), LONGEST_WAIT),
        (Busy(headers={"Retry-After": "120"}), 120.0),
        (Busy(headers={"retry-after": "120"}), 120.0),
        (Busy(headers=message(RETRY_AFTER="120")), 120.0),
        (Busy(own=message(Retry_After="120")), 120.0),
        (Busy(7, headers={"Retry-After": "120"}), 7.0),
        (Busy(LATER), LATER),
        (Busy(LATER.astimezone(datetime.timezone(5 * SOON))), LATER),
        (Busy(NOW - SOON), NOW - SOON),
        (Busy(headers={"Retry-After": http_date(LATER)}), LATER),
        (Busy(headers={}), None),
        (Busy(), None),
        (ValueError("busy"), None),
    ],
)
def test_time_that_an_exception_asks_for(error: Exception, wanted: Any) -> None:
    delay, moment = retry_after(error)
    assert (moment if delay is None else delay) == wanted
    assert delay is None or moment is None


def test_date_of_http_is_in_gmt_wherever_the_job_runs() -> None:
    error = Busy(headers={"Retry-After": http_date(LATER).replace("GMT", "-0000")})
    with timezone.override("America/New_York"):
        assert retry_after(error) == (None, LATER)


def test_moment_is_at_most_a_day_away() -> None:
    _delay, moment = retry_after(Busy(NOW + 5 * DAY))
    assert moment is not None
    assert timezone.now() + DAY - SOON < moment <= timezone.now() + DAY


@pytest.mark.parametrize("how", ["automatic", "self.retry", "Retry"])
@pytest.mark.parametrize("given", [300, LATER])
def test_retry_is_when_the_exception_asks_for(run: Run, how: str, given: Any) -> None:
    @job(bind=True, autoretry_for=(Busy,))
    def body(self: Any) -> None:
        error = Busy(given)
        if how == "self.retry":
            self.retry(exc=error)
        raise error if how == "automatic" else Retry(exc=error)

    run(body)
    row = Job.objects.get()
    assert (row.status, row.retries) == ("RETRY", 1)
    if given == LATER:
        assert row.run_at == LATER
    else:
        end = row.run_at.timestamp() - 300
        assert row.started_at.timestamp() - 0.01 <= end <= unix_time("default") + 0.01


def test_time_that_self_retry_is_given_wins(run: Run) -> None:
    @job(bind=True)
    def body(self: Any) -> None:
        self.retry(exc=Busy(300), countdown=7)

    assert run(body).delay == 7


def test_exception_wins_over_the_function(run: Run) -> None:
    @job(autoretry_for=(Busy,), retry_backoff=lambda retries, error: 5.0)
    def body() -> None:
        raise Busy(300)

    assert run(body).delay == 300


def test_asking_retries_nothing_that_is_not_retried(run: Run) -> None:
    @job
    def body() -> None:
        raise Busy(300)

    assert run(body).status == "FAILURE"


class Broken(Exception):
    @property
    def retry_after(self) -> float:
        raise LookupError("the password is hunter2")


@pytest.mark.parametrize(
    "error",
    [
        Busy("soon"),
        Busy(""),
        Busy(float("nan")),
        Busy(True),
        Busy([30]),
        Busy(datetime.datetime.max),  # noqa: DTZ901
        Busy(headers={"Retry-After": "Wed, 99 Foo 2026 07:28:00 GMT"}),
        Busy(headers={"Retry-After": "²"}),
        Broken(),
    ],
)
@pytest.mark.parametrize("eager", [False, True])
def test_what_is_no_time_is_logged_and_the_job_waits_as_usual(
    run: Run, caplog: pytest.LogCaptureFixture, error: Exception, eager: bool
) -> None:
    @job(autoretry_for=(Exception,), retry_jitter=False, max_retries=1)
    def body(password: str) -> None:
        raise error

    if eager:
        assert body.apply(("hunter2",)).job.retries == 1
    else:
        assert run(body, "hunter2").delay == 2
    (line,) = [each.getMessage() for each in caplog.records if "retry_after" in each.getMessage()]
    assert line.startswith(f"retry_after ignored name={body.name} id=")
    assert "hunter2" not in line


def test_headers_without_get_ask_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert retry_after(Busy(headers=["Retry-After"])) == (None, None)
    assert retry_after(Busy(headers={"Retry-After": None})) == (None, None)


def test_eager_retry_expires_before_the_time_that_the_exception_asks_for() -> None:
    @job(autoretry_for=(Busy,), expires=60)
    def body() -> None:
        raise Busy(300)

    assert body.apply().status == "REVOKED"


def test_header_counts_as_a_number_and_beside_a_response_that_is_none() -> None:
    assert retry_after(Busy(headers={"Retry-After": 0})) == (0.0, None)
    error = Busy()
    error.response, error.headers = None, {"retry-after": "5"}  # type: ignore[attr-defined]
    assert retry_after(error) == (5.0, None)
