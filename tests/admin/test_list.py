"""The job list: its filters and search, and operations on many jobs."""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
import time_machine
from django.contrib.admin import ModelAdmin, site
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.backends.sqlite3._functions import register
from django.db.models import QuerySet, TextField, Value
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from django_jobs import job
from django_jobs.admin import changelist, tracebacks
from django_jobs.admin import export as export_module
from django_jobs.admin.badges import status_badge
from django_jobs.admin.job import JobAdmin
from django_jobs.admin.job_buttons import UNASKED
from django_jobs.admin.job_fields import progress_bar
from django_jobs.admin.search import is_id, problems, search
from django_jobs.admin.timeline import timeline
from django_jobs.ids import uuid7
from django_jobs.metrics import cache
from django_jobs.models import Attempt, Command, Job, Schedule, UniqueKey
from django_jobs.models.histogram import OTHERS
from django_jobs.status import Status
from django_jobs.workflows.upstream import UPSTREAM_FAILED
from tests.admin.test_dashboard import measure
from tests.admin.test_jobs import LIST, make, make_many, messages_of, page, post, queries_of

pytestmark = pytest.mark.django_db


def found(client: Client, **query: str) -> set[Job]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return set(response.context["cl"].result_list)


@pytest.fixture
def mailer(registered: dict[str, Any]) -> str:
    @job(name="shop.send_mail", sensitive=("code",))
    def function(user: int, subject: str, code: str = "") -> None: ...

    return function.name


# --- filters --------------------------------------------------------------------------------------


def test_filters_by_error_worker_schedule_and_attempts(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    schedule = Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", kind="interval", interval_seconds=60
    )
    failed = make(Status.FAILURE, error_class="smtplib.SMTPException")
    done, fired = make(worker_id=worker.pk), make(schedule_id=schedule.pk)
    again = make(claims=2, retries=1)
    assert found(boss, error="smtplib.SMTPException") == {failed}
    assert found(boss, worker=str(worker.pk)) == {done}
    assert found(boss, schedule=str(schedule.pk)) == {fired}
    assert found(boss, attempts="more") == {again}
    assert "nightly" in boss.get(LIST, {"schedule": schedule.pk}).content.decode()
    for name in ("worker", "schedule"):
        assert found(boss, **{name: "no id"}) == set()


def test_filter_offers_the_errors_of_a_week_and_of_failed_jobs(boss: Client) -> None:
    for age, name in ((60, "shop.New"), (8 * 86_400, "shop.Old"), (60, OTHERS)):
        now = int(timezone.now().timestamp() - age)
        errors = {name: [1, now, str(uuid7())]}
        measure("shop.send", age=age, succeeded=0, failed=1, errors=errors)
    for name in ("shop.Kept", UPSTREAM_FAILED, ""):
        make(Status.FAILURE, error_class=name)
    (error,) = (
        spec for spec in boss.get(LIST).context["cl"].filter_specs if spec.title == "error"
    )  # fmt: skip
    assert [path for path, _label in error.lookup_choices] == [
        UPSTREAM_FAILED, "shop.Kept", "shop.New",
    ]  # fmt: skip


def test_statuses_are_in_the_language_of_the_reader() -> None:
    assert status_badge("FAILURE").endswith("failure</span>")
    with translation.override("zh-hans"):
        assert status_badge("FAILURE").endswith("失败</span>")
    assert status_badge("<b>").endswith("&lt;b&gt;</span>")


def test_check_boxes_are_those_of_django(boss: Client) -> None:
    row, own = make(name='shop.<b>"&'), JobAdmin(Job, site)
    assert own.action_checkbox(row) == ModelAdmin.action_checkbox(own, row)


def test_filter_by_age_is_by_the_id(boss: Client) -> None:
    new = make()
    old = make()
    milliseconds = int((timezone.now() - datetime.timedelta(hours=2)).timestamp() * 1000)
    Job.objects.filter(pk=old.pk).delete()
    old.pk = type(old.pk)(int=milliseconds << 80 | 1)
    old.save(force_insert=True)
    assert found(boss, age="hour") == {new}
    assert found(boss, age="day") == {new, old}
    assert found(boss, age="nonsense") == {new, old}


# --- search ---------------------------------------------------------------------------------------


def test_search_by_qualifiers(boss: Client) -> None:
    wanted = make(Status.FAILURE, name="shop.send", queue="mail", error_class="smtplib.SMTPError")
    make(Status.FAILURE, name="shop.send", queue="mail", error_class="builtins.KeyError")
    make(name="other.send", queue="mail")
    assert found(boss, q="job:shop error:smtp queue:mail") == {wanted}
    assert found(boss, q="error:SMTPError") == {wanted}
    assert len(found(boss, q="send queue:mail")) == 3
    assert found(boss, q="queue:mai") == set()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ([], {"user": 42, "subject": "x"}),
        ([], {"subject": "x", "user": 42}),
        ([], {"subject": 'a "quoted", [odd] {one}', "user": 42}),
        ([42, "x"], {}),
        ([42], {"subject": "x"}),
        ([], {"user": "42"}),
    ],
)
def test_search_for_an_argument(boss: Client, mailer: str, args: Any, kwargs: Any) -> None:
    wanted = make(name=mailer, args=args, kwargs=kwargs)
    make(name=mailer, args=[421], kwargs={})
    make(name=mailer, args=[], kwargs={"user": 142})
    make(name=mailer, args=[1, "42"], kwargs={})
    make(name="other", args=[42], kwargs={})
    assert found(boss, q="args.user:42") == {wanted}


def test_search_for_a_later_argument_and_for_text(boss: Client, mailer: str) -> None:
    wanted = make(name=mailer, args=[1, "Grüße, ihr"])
    make(name=mailer, args=["Grüße, ihr", 1])
    assert found(boss, q='args.subject:"Grüße, ihr"') == {wanted}
    assert found(boss, q="args.subject:.*") == set()


def test_search_finds_no_secret(boss: Client, mailer: str) -> None:
    make(name=mailer, args=[1, "x", "1234"])
    make(name=mailer, args=[1], kwargs={"code": "1234", "password": "1234"})
    make(name=mailer, args=[1], kwargs={"credentials": {"city": "Oslo", "n": 1}, "a": 1})
    for text in ("args.code:1234", "args.password:1234", "args.city:Oslo", "args.n:1"):
        assert found(boss, q=text) == set(), text


@pytest.mark.parametrize(
    "text",
    ["pin=48151623", "https://ann:hunter2@host/", '{"password": "hunter2"}', "code: 48151623"],
)
def test_search_finds_no_text_with_a_secret_in_it(boss: Client, mailer: str, text: str) -> None:
    make(name=mailer, args=[1, text])
    make(name=mailer, args=[], kwargs={"user": 1, "subject": text})
    for part in ("48151623", "hunter2"):
        assert part not in boss.get(LIST).content.decode()
    assert found(boss, q=f"args.subject:{shlex.quote(text)}") == set()
    html = boss.get(LIST, {"q": f"args.subject:{shlex.quote(text)}"}).content.decode()
    assert "it cannot be searched" in html


def test_search_reads_no_message_of_an_unknown_function(boss: Client) -> None:
    # Its arguments are blanked in the message that the list shows.
    gone = make(
        Status.FAILURE, name="shop.gone", args=["blue whale"], error_class="builtins.OSError",
        error_message="blue whale is down",
    )  # fmt: skip
    html = re.sub(r"<[^>]+>", "", boss.get(LIST).content.decode())
    assert "******** is down" in html
    assert "blue" not in html
    for query in ("error:blue", "blue", '"whale is"'):
        assert found(boss, q=query) == set(), query
    assert found(boss, q="error:OSError") == {gone}


def test_search_for_an_argument_after_a_result(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="shop.deploy")
    def deploy(build: str, password: str, place: str = "") -> None: ...

    @job(name="shop.lock")
    def lock(pin: str, place: str = "") -> None: ...

    after = make(name=deploy.name, args=["hunter2-chain", "Oslo"], options={"takes": "value"})
    direct = make(name=deploy.name, args=["b1", "hunter2-chain", "Oslo"])
    alone = make(name=lock.name, args=["4711", "Oslo"], options={"takes": "nothing"})
    # Only an errback has the key here, so that "1234" is the build and "5678" the password.
    errback = [[{"job": "shop.lock", "kwargs": {"takes": "value"}}, None]]
    make(name=deploy.name, args=["1234", "5678", "Oslo"], options={"link_error": errback})
    assert found(boss, q="args.place:Oslo") == {after, direct}
    assert found(boss, q="args.build:b1") == {direct}
    for text in ("args.build:hunter2-chain", "args.password:hunter2-chain", "args.place:4711",
                 "args.place:5678"):  # fmt: skip
        assert found(boss, q=text) == set(), alone


def test_arguments_are_hidden_where_options_are_too_long_to_be_read(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="shop.deploy")
    def deploy(build: str, password: str) -> None: ...

    # The argument is the password, because the build is the result of another job.
    make(name=deploy.name, args=["hunter2-chain"], options={"takes": "value", "for": "1" * 9_000})
    assert "hunter2-chain" not in boss.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("foo:bar", "“foo:” is no qualifier"),
        ("args.number:>40", "compares: the search finds equal values only"),
        ("args.0:42", "“args.0:” has no name"),
        ("args.password:x", "The argument “password” is hidden"),
        ("args.nowhere:42", ""),
        ("nothing", ""),
        ("job:add args.a:1", ""),
    ],
)
def test_search_says_what_it_does_not_understand(boss: Client, query: str, told: str) -> None:
    html = boss.get(LIST, {"q": query}).content.decode()
    hints = re.findall(r"<li>([^<]+)</li>", html.partition("jobs-hints")[2].partition("</ul>")[0])
    assert len(hints) == 1
    assert told in hints[0]
    if not told:
        assert "A job&#x27;s id" in hints[0]


def test_search_finds_the_text_of_errors(boss: Client) -> None:
    wanted = make(Status.FAILURE, error_class="builtins.OSError", error_message="Mail is down")
    make(Status.FAILURE, error_class="builtins.OSError", error_message="mail is slow")
    assert found(boss, q="error:down") == found(boss, q='"is DOWN"') == {wanted}
    text = re.sub(r"<[^>]+>", " ", boss.get(LIST, {"q": "down"}).content.decode())
    assert re.search(r"OSError\s+Mail is down", text)


def aged(days: float, **fields: Any) -> Job:
    seconds = timezone.now().timestamp() - days * 86_400
    return make(pk=UUID(int=int(seconds * 1000) << 80 | 7), **fields)


def test_filter_by_dates_and_older_than(boss: Client) -> None:
    new, week, year = aged(0), aged(8), aged(400)
    assert found(boss, age="over-week") == {week, year}
    assert found(boss, age="over-quarter") == {year}
    # Midnight may pass while the test runs, so the job tells its day.
    made = datetime.datetime.fromtimestamp((week.pk.int >> 80) / 1000, datetime.UTC)
    day = timezone.localdate(made)
    assert found(boss, **{"from": str(day)}) == {new, week}
    assert found(boss, to=str(day)) == {week, year}
    assert found(boss, **{"from": str(day), "to": str(day)}) == {week}
    assert found(boss, to="nonsense") == {new, week, year}
    data = {"action": "delete_selected", "select_across": "1", "_selected_action": [str(week.pk)]}
    boss.post(f"{LIST}?age=over-week", data | {"index": "0", "confirmed": "1"})
    assert set(Job.objects.all()) == {new}


def test_bound_counts_the_days_that_were_asked_for(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "MOST_SEARCHED", 2)
    for _number in range(3):
        make(queue="mail")
    old = aged(40, queue="mail")
    assert found(boss, queue="mail", age="over-month") == {old}


def test_chips_remove_a_filter_or_a_word(boss: Client) -> None:
    query = {
        "queue": "mail",
        "status": "FAILURE",
        "q": 'error:OSError "is down"',
        "to": "2026-01-02",
    }
    chips = boss.get(LIST, query).context["chips"]
    told = [(chip["label"], chip["value"]) for chip in chips]
    assert told == [
        ("queue", "mail"), ("dates to", "2026-01-02"), ("", "error:OSError"), ("", "is down"),
    ]  # fmt: skip
    links = [dict(parse_qsl(chip["link"].removeprefix("?"))) for chip in chips]
    assert links[0] == {name: query[name] for name in ("status", "q", "to")}
    assert links[2] == query | {"q": "'is down'"}


def test_tabs_count_what_matches_the_other_filters(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, queue in (
        (Status.FAILURE, "mail"),
        (Status.SUCCESS, "mail"),
        (Status.SUCCESS, "x"),
    ):
        make(status, queue=queue)

    def counts(**query: str) -> list[str | None]:
        tabs = boss.get(LIST, query).context["status_tabs"]
        return [
            tab["count"] for tab in tabs[1:] if "success" in tab["label"] or "fail" in tab["label"]
        ]

    assert counts(queue="mail", status="FAILURE") == counts(q="queue:mail") == ["1", "1"]
    assert counts(q="args.a:1") == [None, None]  # it takes long
    assert counts(age="hour") == ["2", "1"]
    assert counts(age="over-week") == counts(schedule="x") == ["0", "0"]
    monkeypatch.setattr(changelist, "MOST_SEARCHED", 2)
    assert counts(queue="mail") == ["1+", "0+"]


def test_completions_name_no_hidden_argument(boss: Client, mailer: str) -> None:
    words = boss.get(LIST).context["completions"]
    assert {"job:send_mail", "queue:default", "args.user:", "args.subject:"} <= set(words)
    assert "args.code:" not in words


# --- export ---------------------------------------------------------------------------------------


def export(client: Client, kind: str, **query: str) -> str:
    response = client.get(LIST, {"export": kind, **query})
    assert response.status_code == 200
    return b"".join(response).decode()


def test_export_has_what_matches_without_secrets(
    boss: Client, mailer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "_CHUNK", 2)
    for number in range(5):
        make(Status.FAILURE, name=mailer, args=[number, "=1+1", "s3cr3t-code"], error_class="E",
             error_message="=s3cr3t-code")  # fmt: skip
    make(queue="other", name=mailer)
    rows = list(csv.DictReader(io.StringIO(export(boss, "csv", status="FAILURE"))))
    assert [json.loads(row["args"])[0] for row in rows] == [4, 3, 2, 1, 0]
    assert rows[0]["error_message"] == "'=********"  # a spreadsheet would compute it
    same = json.loads(export(boss, "json", status="FAILURE", q="send_mail"))
    assert [row["id"] for row in same] == [row["id"] for row in rows]
    assert same[0]["args"] == [4, "=1+1", "********"]
    assert json.loads(export(boss, "json", queue="none")) == []


def test_export_has_no_formula(boss: Client) -> None:
    texts = [f"{begin}1+1" for begin in "=+-@\t\r\n＝＋－＠"]
    for text in texts:
        make(Status.FAILURE, error_class="E", error_message=text)
    rows = csv.DictReader(io.StringIO(export(boss, "csv"), newline=""))
    assert [row["error_message"] for row in rows] == [f"'{text}" for text in reversed(texts)]


def test_export_needs_the_permission_to_view(client_of: Callable[..., Client]) -> None:
    assert client_of("view_worker").get(LIST, {"export": "csv"}).status_code == 403


@pytest.mark.parametrize("text", ["'", '"a', "a\0b", "job:", "args.:", "args.x:", ":", "\\", "%"])
def test_search_takes_any_text(boss: Client, text: str) -> None:
    make()
    boss.get(LIST, {"q": text})
    found(boss, q=text)
    assert is_id(text) is None


def test_list_of_an_admin_with_fewer_rows_counts_those(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Status.FAILURE)
    mine = make(Status.FAILURE, queue="mine")
    inherited = JobAdmin.get_queryset

    def of_a_tenant(self: JobAdmin, request: HttpRequest) -> QuerySet[Job]:
        return inherited(self, request).filter(queue="mine")

    monkeypatch.setattr(JobAdmin, "get_queryset", of_a_tenant)
    for query in ({}, {"status": "FAILURE"}, {"q": "add"}):
        shown = boss.get(LIST, query).context
        assert (shown["cl"].result_count, list(shown["cl"].result_list)) == (1, [mine])
        assert [tab["count"] for tab in shown["status_tabs"][1:] if tab["count"] != "0"] == ["1"]


def test_search_reads_the_jobs_for_the_list_and_once_for_all_its_tabs(boss: Client) -> None:
    make_many(3)
    boss.get(LIST)
    read = [sql for sql in queries_of(boss, f"{LIST}?q=add") if "LIKE" in sql]
    # The rows stop at a page. The tabs and the number of pages share the other one.
    assert [sql.count("LIKE") for sql in read] == [read[0].count("LIKE")] * 2


@pytest.mark.parametrize("text", ["50%", "a_b", "c\\d", 'e"f', "é", "x" * 990, "😀" * 990])
def test_search_finds_an_argument_with_any_character(boss: Client, text: str) -> None:
    wanted = {make(args=[1, text]), make(args=[1, text])}
    make(args=[1, f"{text}."])
    # One of them has letters that are not escaped.
    plain = Value(json.dumps([1, text], ensure_ascii=False), TextField())
    Job.objects.filter(pk=min(job.pk for job in wanted)).update(args=plain)
    assert found(boss, q=shlex.quote(f"args.b:{text}")) == wanted


@pytest.mark.parametrize("before", ["", "args.b:", "error:"])
@pytest.mark.django_db
def test_search_says_that_a_word_is_too_long(before: str) -> None:
    make(args=[1, "x"])
    term = f"{before}{'é' * 60_000}"
    assert list(search(Job.objects.all(), term)) == []
    assert problems(term) == ["A word of a search has at most 1000 characters."]


def test_search_asks_the_expression_only_about_rows_that_contain_the_text(
    boss: Client, vendor: str
) -> None:
    if vendor != "sqlite":
        pytest.skip("only SQLite calls a function for an expression")
    wanted = make(args=[1, 4242])
    make(args=[1], kwargs={"b": 3})
    asked: list[str] = []

    def regexp(pattern: str, text: str) -> bool:
        asked.append(text)
        return re.search(pattern, text) is not None

    connection.ensure_connection()
    connection.connection.create_function("REGEXP", 2, regexp)
    try:
        assert found(boss, q="args.b:4242") == {wanted}
    finally:
        register(connection.connection)
    assert set(asked) == {"[1,4242]"}


def test_search_without_an_index_reads_only_the_newest_jobs(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "MOST_SEARCHED", 3)
    old = make(Status.FAILURE, name="old")
    make_many(2, Status.FAILURE)
    make_many(5)
    # The newest three of the chosen status; the successes between them do not count.
    assert found(boss, q="old", status="FAILURE") == {old}
    assert found(boss, q="old") == set()
    assert "Only the newest 3 jobs" in boss.get(LIST, {"q": "old"}).content.decode()
    assert "Only the newest" not in boss.get(LIST).content.decode()
    assert found(boss, q=str(old.pk)) == {old}
    make_many(1, Status.FAILURE)
    assert found(boss, name="old", status="FAILURE") == set()
    html = boss.get(LIST, {"name": "old", "status": "FAILURE"}).content.decode()
    assert "Only the newest 3 jobs of this status were searched: choose dates" in html
    assert "choose a status" in boss.get(LIST, {"name": "old"}).content.decode()
    assert len(found(boss, status="FAILURE")) == 4


def test_count_of_the_newest_jobs_reads_the_newest_first(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "MOST_SEARCHED", 3)
    monkeypatch.setattr(JobAdmin, "list_per_page", 2)
    make_many(5, Status.SUCCESS)
    with CaptureQueriesContext(connection) as captured:
        page = boss.get(LIST, {"status": "SUCCESS", "p": 2})
    assert page.context["cl"].result_count == 3
    (counted,) = [one["sql"] for one in captured if one["sql"].startswith("SELECT COUNT(*)")]
    # PostgreSQL would read all jobs from the first one on, as it expects many of this status.
    assert re.search(r"ORDER BY .* DESC LIMIT 10001", counted), counted


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
def test_search_reads_the_jobs_once_for_the_count_and_the_first_page(
    boss: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(JobAdmin, "list_per_page", 2)
    for _ in range(number):
        make(Status.FAILURE, error_message="the card has expired")
    make(Status.FAILURE, error_message="another one")
    asked = {"status": "FAILURE", "q": "error:expired"}
    with CaptureQueriesContext(connection) as statements:
        shown = boss.get(LIST, asked).context["cl"]
    scans = [
        one["sql"] for one in statements
        if "%expired%" in one["sql"].lower() and not re.search(r"id\W IN \(", one["sql"])
    ]  # fmt: skip
    # The list and the tabs.
    assert len(scans) == 2, scans
    assert (shown.result_count, len(shown.result_list)) == (number, min(number, 2))
    if number > 2:
        last = boss.get(LIST, {**asked, "p": (number + 1) // 2}).context["cl"]
        assert (last.result_count, len(last.result_list)) == (number, 1)


# --- questions ------------------------------------------------------------------------------------


def test_destructive_operations_ask_with_the_numbers(boss: Client) -> None:
    rows = [make(Status.PENDING), make(Status.PENDING), make(Status.SUCCESS)]
    for action in ("revoke", "terminate"):
        asked = post(boss, action, *rows, confirmed="").content.decode()
        revoked = Job.objects.filter(status=Status.REVOKED).exists()
        assert not revoked or 'name="confirmed"' not in asked
    data = {"action": "revoke", "_selected_action": [str(row.pk) for row in rows], "index": "0"}
    asked = boss.post(f"{LIST}?queue=default", data)
    Job.objects.filter(status=Status.REVOKED).update(status=Status.PENDING)
    asked = boss.post(f"{LIST}?queue=default", data)
    html = asked.content.decode()
    assert "3 jobs were chosen. 2 of them have a status that allows it" in html
    data["_selected_action"] = [str(row.pk) for row in rows[:2]]
    html = boss.post(f"{LIST}?queue=default", data).content.decode()
    assert "2 jobs were chosen.</p>" in html
    assert not Job.objects.filter(status=Status.REVOKED).exists()
    data["_selected_action"] = [str(row.pk) for row in rows]
    answer = {**data, "confirmed": "1", "next": f"{LIST}?queue=default"}
    done = boss.post(f"{LIST}?queue=default", answer, follow=True)
    assert "2 jobs were changed. 1 was skipped" in messages_of(done)
    assert done.redirect_chain == [(f"{LIST}?queue=default", 302)]


def test_operations_on_many_jobs_ask_first(boss: Client) -> None:
    make_many(UNASKED, Status.FAILURE)
    across = {"action": "retry", "_selected_action": "all", "index": "0", "select_across": "1"}
    assert boss.post(f"{LIST}?status=FAILURE", across).status_code == 302
    assert Job.objects.filter(status=Status.PENDING).count() == UNASKED
    make_many(UNASKED + 1, Status.FAILURE)
    asked = boss.post(f"{LIST}?status=FAILURE", across)
    assert "101 jobs were chosen" in asked.content.decode()
    assert Job.objects.filter(status=Status.FAILURE).count() == UNASKED + 1
    boss.post(f"{LIST}?status=FAILURE", {**across, "confirmed": "1"})
    assert not Job.objects.filter(status=Status.FAILURE).exists()


def test_question_names_the_first_jobs_with_their_arguments(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="pay", sensitive=("pin",))
    def pay(order: int, pin: str) -> None: ...

    rows = [make(Status.PENDING, name="pay", args=[n, "hunter2"]) for n in range(13)]
    data = {"action": "revoke", "_selected_action": [str(row.pk) for row in rows], "index": "0"}
    html = boss.post(LIST, data).content.decode()
    assert "hunter2" not in html
    for row in rows[3:]:
        assert str(row.pk) in html
        assert f"order={row.args[0]}, pin=" in html
    assert "order=2," not in html
    assert "and 3 more" in html
    assert 'class="jobs-danger"' in html


# --- terminate and copy ---------------------------------------------------------------------------


def test_terminate_ends_running_jobs_and_commands_their_workers(
    boss: Client, new_worker: Any
) -> None:
    running, pending = make(Status.STARTED, worker_id=new_worker().pk), make(Status.PENDING)
    response = post(boss, "terminate", running, pending)
    assert "1 job was changed. 1 was skipped: 1 is pending." in messages_of(response)
    running.refresh_from_db()
    assert running.status == Status.REVOKED
    assert Command.objects.get().name == "terminate"
    assert LogEntry.objects.get().change_message == "Terminated."


def test_copy_enqueues_with_the_same_arguments(boss: Client) -> None:
    row = make(args=[3], kwargs={"b": 4}, queue="vip", rank=-7, headers={"h": 1})
    response = post(boss, "copy", row)
    assert "1 job was changed." in messages_of(response)
    copy = Job.objects.exclude(pk=row.pk).get()
    assert (copy.name, copy.args, copy.kwargs) == (row.name, [3], {"b": 4})
    assert (copy.queue, copy.priority, copy.headers) == ("vip", 7, {"h": 1})
    assert copy.status == Status.PENDING
    assert LogEntry.objects.get().change_message == "Enqueued a copy."


def test_copy_skips_jobs_that_cannot_be_enqueued(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="once", unique=True)
    def once() -> None: ...

    live = once.delay()
    rows = [make(name="gone"), make(args=["too", "many", "of", "them"]), make(name="once", args=[])]
    response = post(boss, "copy", *rows)
    told = messages_of(response)
    assert "1 its job function is unknown" in told
    assert "1 TypeError" in told
    assert "1 another live job holds its unique key" in told
    assert UniqueKey.objects.get().job_id == live.id
    assert Job.objects.count() == 4
    assert not LogEntry.objects.exists()


def test_copy_needs_its_permission(client_of: Callable[..., Client]) -> None:
    client = client_of("view_job", "retry_job", "revoke_job", "run_job")
    row = make()
    post(client, "copy", row)
    assert Job.objects.count() == 1
    assert 'value="copy"' not in client.get(page(row)).content.decode()


# --- a job's page ---------------------------------------------------------------------------------


def test_timeline_has_the_attempts_between_enqueue_and_end() -> None:
    start = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)

    def at(seconds: float) -> datetime.datetime:
        return start + datetime.timedelta(seconds=seconds)

    row = Job(
        status="SUCCESS", enqueued_at=at(0), run_at=at(30), ready_at=at(30), started_at=at(31),
        ended_at=at(33), claims=2, retries=1,
    )  # fmt: skip
    failed = Attempt(pk=1, attempt=1, claims=1, status="RETRY", started_at=at(1), ended_at=at(2))
    told = [(step.label, step.after) for step in timeline(row, [failed])]
    assert told == [
        ("enqueued", ""),
        ("attempt 1 started", "1.0 s"),
        ("attempt 1 ended: retry", "1.0 s"),
        ("scheduled for", "28.0 s"),
        ("ready", "0 ms"),
        ("attempt 2 started", "1.0 s"),
        ("ended: success", "2.0 s"),
    ]


TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 3, in send
    smtp.connect(host)
    ^^^^^^^^^^^^
  File "/usr/lib/python3.11/smtplib.py", line 341, in connect
    self.sock = self._get_socket(host, port)
  File "/srv/venv/lib/python3.11/site-packages/net.py", line 8, in get
    raise OSError
OSError: nobody there
    with a second line"""


def test_traceback_folds_the_frames_of_libraries() -> None:
    parts = tracebacks.parts(TRACEBACK)
    assert [(part.is_library, part.frames) for part in parts] == [(False, 1), (True, 2), (False, 0)]
    assert "\n".join(part.text for part in parts) == TRACEBACK
    assert parts[-1].text.startswith("OSError: nobody")


@pytest.mark.parametrize("text", ["", "no traceback at all", "\n\n", '  File "<string>", line 1'])
def test_traceback_of_any_shape_is_kept(text: str) -> None:
    parts = tracebacks.parts(text)
    assert "\n".join(part.text for part in parts) == text.rstrip("\n")


def test_page_shows_the_traceback_in_parts(boss: Client) -> None:
    row = make(Status.FAILURE)
    Attempt.objects.create(
        job=row, attempt=1, status="FAILURE", ended_at=timezone.now(), traceback=TRACEBACK
    )
    html = boss.get(page(row)).content.decode()
    assert "2 frames of libraries" in html
    assert html.index("smtp.connect") < html.index("_get_socket") < html.index("nobody there")


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        (
            {"done": 3, "total": 12, "message": "<b>"},
            (
                '<progress class="jobs-progress" value="3" max="12">3/12 (25%)</progress> '
                "3/12 (25%) &lt;b&gt;"
            ),
        ),
        ({"done": 3, "total": None, "message": "so far"}, "3 so far"),
        ({"done": 1_234_567, "total": None}, "1,234,567 "),
        (
            {"done": 1.5, "total": 3e6},
            (
                '<progress class="jobs-progress" value="1.5" max="3000000.0">'
                "1.5/3,000,000 (0%)</progress> 1.5/3,000,000 (0%) "
            ),
        ),
    ],
)
def test_progress_is_a_bar(progress: Any, told: str) -> None:
    assert progress_bar(progress) == told


@pytest.mark.parametrize("progress", [{"done": "x"}, {"done": 1, "total": 0}, [1], "text", {}])
def test_progress_of_another_shape_is_json(progress: Any) -> None:
    assert "<pre" in progress_bar(progress)


def test_page_shows_the_last_runs_of_its_function(boss: Client) -> None:
    make_many(40)
    make(name="another")
    row = make(Status.FAILURE)
    later = Job(pk=uuid7(), **{**_given(), "status": Status.FAILURE})
    later.save(force_insert=True)
    html = boss.get(page(row)).content.decode()
    assert "Last 30 runs: 1 failed" in html


def _given() -> dict[str, Any]:
    from tests.admin.test_jobs import given

    return given(Status.SUCCESS)


def test_page_links_to_the_enqueuing_job_or_schedule(boss: Client) -> None:
    parent = make()
    html = boss.get(page(make(parent_id=parent.pk))).content.decode()
    assert page(parent) in html
    html = boss.get(page(make(schedule_id=77))).content.decode()
    assert "/admin/django_jobs/schedule/77/change/" in html


def test_page_refreshes_itself(boss: Client) -> None:
    row = make(Status.PENDING)
    part = boss.get(page(row), headers={"X-Jobs-Refresh": "1"})
    assert part.content.decode().count("data-region=") == 9
    assert 'value="revoke"' in part.content.decode()
    ask = {"X-Jobs-Refresh": "1", "If-None-Match": part["ETag"]}
    row.status = Status.SUCCESS
    row.save()
    after = boss.get(page(row), headers=ask)
    assert after.status_code == 200
    assert 'value="revoke"' not in after.content.decode()


def test_list_refreshes_itself(boss: Client) -> None:
    make_many(3)
    whole = boss.get(LIST, {"status": "SUCCESS"})
    assert "X-Jobs-Refresh" in whole["Vary"]
    part = boss.get(LIST, {"status": "SUCCESS"}, headers={"X-Jobs-Refresh": "1"})
    html = part.content.decode()
    regions = re.findall(r'data-region="(\w+)"', whole.content.decode())
    assert (
        re.findall(r'data-region="(\w+)"', html) == regions == ["alerts", "tabs", "search", "rows"]
    )
    assert "<html" not in html
    assert html.count("action-select") == 3
    assert "3 jobs" in html
    assert "csrfmiddlewaretoken" not in html  # a new token each time would change every response
    make(Status.PENDING)
    cache.clear()
    page = boss.get(LIST, {"status": "PENDING"}, headers={"X-Jobs-Refresh": "1"}).content.decode()
    assert page.count("action-select") == 1


def test_list_is_not_sent_again_while_only_time_passes(boss: Client) -> None:
    for status in Status:
        row = make(status)
        if row.run_at:  # a job whose time has come waits for something else
            Job.objects.filter(pk=row.pk).update(run_at=row.run_at + datetime.timedelta(hours=2))
    live = {"X-Jobs-Refresh": "1"}
    first = boss.get(LIST, headers=live)
    with time_machine.travel(timezone.now() + datetime.timedelta(hours=2), tick=False):
        again = boss.get(LIST, headers={**live, "If-None-Match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        whole = boss.get(LIST, headers=live)
        assert whole["ETag"] == first["ETag"]
        assert whole.content != first.content


def test_buttons_for_all_that_match_need_a_filter_and_a_permission(
    client_of: Callable[..., Client],
) -> None:
    client = client_of("view_job", "retry_job")
    rows = [make(Status.FAILURE), make(Status.SUCCESS)]
    names = {
        query: [one.name for one in client.get(LIST + query).context["operations_on_all"]]
        for query in ("", "?status=FAILURE", "?status=PENDING", "?q=add", "?q=nothing")
    }
    assert names == {
        "": [], "?status=FAILURE": ["retry"], "?status=PENDING": [], "?q=add": ["retry"],
        "?q=nothing": [],
    }  # fmt: skip
    button = {"action": "retry", "select_across": "1", "_selected_action": "all", "index": "0"}
    client.post(f"{LIST}?status=FAILURE", button | {"confirmed": "1"})
    assert [Job.objects.get(pk=row.pk).status for row in rows] == ["PENDING", "SUCCESS"]
