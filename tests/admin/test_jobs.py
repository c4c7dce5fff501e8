"""The admin's pages of jobs: who may do what, what is never shown, and how much is read."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_jobs import job
from django_jobs.admin import changelist, job_actions
from django_jobs.metrics import capped_count
from django_jobs.models import Attempt, Edge, Job, UniqueKey, Worker
from django_jobs.redaction import REDACTED
from django_jobs.status import ENDED, Status

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/job/"
SECRET = "hunter2-top"
OPERATIONS = {
    "retry": Status.FAILURE, "revoke": Status.PENDING, "run_now": Status.SCHEDULED,
    "terminate": Status.STARTED,
}  # fmt: skip
AFTER = {
    "retry": Status.PENDING, "revoke": Status.REVOKED, "run_now": Status.PENDING,
    "terminate": Status.REVOKED,
}  # fmt: skip
PERMISSIONS = {
    "retry": "retry_job", "revoke": "revoke_job", "run_now": "run_job", "terminate": "revoke_job",
}  # fmt: skip


def page(row: Job) -> str:
    return reverse("admin:django_jobs_job_change", args=[row.pk])


def make(status: str = Status.SUCCESS, **fields: Any) -> Job:
    return Job.objects.create(**(given(status) | fields))


def make_many(number: int, status: str = Status.SUCCESS) -> None:
    Job.objects.bulk_create(Job(**given(status)) for _ in range(number))


def given(status: str) -> dict[str, Any]:
    now = timezone.now()
    begun = status in ENDED or status in (Status.STARTED, Status.RETRY)
    return {
        "name": "tests.jobs.add",
        "queue": "default",
        "status": status,
        "args": [1, 2],
        "kwargs": {},
        "enqueued_at": now - datetime.timedelta(seconds=30),
        "ready_at": now - datetime.timedelta(seconds=20),
        "run_at": now + datetime.timedelta(hours=1) if status == Status.SCHEDULED else None,
        "started_at": now - datetime.timedelta(seconds=10) if begun else None,
        "ended_at": now if status in ENDED else None,
        "claims": int(begun),
    }


@pytest.fixture
def secretive(registered: dict[str, Any]) -> str:
    @job(name="secretive", sensitive=("code",), max_retries=3)
    def function(user: str, password: str, code: str = "") -> None: ...

    return function.name


def post(client: Client, action: str, *rows: Job, **more: str) -> Any:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": "0"}
    return client.post(LIST, data | {"confirmed": "1"} | more, follow=True)


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# --- permissions ----------------------------------------------------------------------------------


def test_pages_anonymous_is_sent_to_the_login(client: Client) -> None:
    for url in (LIST, page(make())):
        assert client.get(url)["Location"].startswith("/admin/login/")


def test_pages_staff_without_permission_is_refused(client_of: Callable[..., Client]) -> None:
    client = client_of()
    assert [client.get(url).status_code for url in (LIST, page(make()))] == [403, 403]


@pytest.mark.parametrize("action", OPERATIONS)
@pytest.mark.parametrize("who", ["anonymous", "staff", "viewer", "other", "operator", "superuser"])
def test_operation_needs_its_own_permission(
    client: Client, client_of: Callable[..., Client], action: str, who: str
) -> None:
    own = PERMISSIONS[action]
    if who != "anonymous":
        others = set(PERMISSIONS.values()) - {own}
        granted = {"viewer": ["view_job"], "other": ["view_job", "delete_job", *others],
                   "operator": ["view_job", own]}.get(who, [])  # fmt: skip
        client_of(*granted, is_superuser=who == "superuser")
    row = make(OPERATIONS[action])
    post(client, action, row)
    row.refresh_from_db()
    allowed = who in ("operator", "superuser")
    assert row.status == (AFTER[action] if allowed else OPERATIONS[action])
    assert LogEntry.objects.exists() == allowed


def test_detail_offers_only_what_status_and_permission_allow(
    client_of: Callable[..., Client],
) -> None:
    client = client_of("view_job", "retry_job")
    assert 'value="retry"' in client.get(page(make(Status.FAILURE))).content.decode()
    waiting = client.get(page(make(Status.PENDING))).content.decode()
    assert 'name="action"' not in waiting


def test_detail_is_read_only(boss: Client) -> None:
    row = make()
    assert boss.post(page(row), {"status": "PENDING"}).status_code == 403
    assert boss.get(f"{LIST}add/").status_code == 403
    assert 'name="_save"' not in boss.get(page(row)).content.decode()


def test_detail_shows_the_key_of_a_fair_queue(boss: Client) -> None:
    row = make(queue="imports", fair_key="00000000:acme <b>")
    assert "imports</a>, key acme &lt;b&gt;" in boss.get(page(row)).content.decode()
    row = make(queue="imports", fair_key="00000000:acme-hunter2", kwargs={"password": "hunter2"})
    assert "acme-hunter2" not in boss.get(page(row)).content.decode()


# --- operations -----------------------------------------------------------------------------------


def test_operation_reports_skipped_jobs_with_reasons(boss: Client) -> None:
    failed, running = make(Status.FAILURE), make(Status.STARTED)
    response = post(boss, "retry", failed, running)
    assert "1 job was changed. 1 was skipped: 1 is started." in messages_of(response)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.action_flag) == (str(failed.pk), CHANGE)
    assert entry.change_message == "Retried."


def test_retry_reports_a_taken_unique_key(boss: Client) -> None:
    live = make(Status.PENDING, unique_key="k")
    UniqueKey.objects.create(key="k", job_id=live.pk)
    response = post(boss, "retry", make(Status.FAILURE, unique_key="k"))
    assert "1 another live job holds its unique key" in messages_of(response)
    assert not LogEntry.objects.exists()


def test_retry_of_a_blocked_job_is_logged_as_a_change(boss: Client) -> None:
    parent = make(Status.STARTED, has_dependents=True)
    row = make(Status.FAILURE, pending_parents=1)
    Edge.objects.create(parent_id=parent.pk, child_id=row.pk)
    assert "1 job was changed." in messages_of(post(boss, "retry", row))
    row.refresh_from_db()
    assert row.status == Status.WAITING
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_copy_of_a_job_with_results_of_others_is_refused(boss: Client) -> None:
    row = make(args=[100], options={"takes": "value"})
    response = post(boss, "copy", row)
    assert "1 was skipped: 1 takes results" in messages_of(response)
    assert Job.objects.count() == 1
    post(boss, "copy", make(options={"takes": "nothing"}))
    assert Job.objects.count() == 3


def test_operation_on_all_matching_jobs_respects_the_filters(boss: Client) -> None:
    failed, others = [make(Status.FAILURE) for _ in range(3)], make(Status.REVOKED)
    data = {"action": "retry", "_selected_action": [str(failed[0].pk)], "index": "0"}
    boss.post(f"{LIST}?status=FAILURE", data | {"select_across": "1"})
    assert Job.objects.filter(status=Status.PENDING).count() == 3
    others.refresh_from_db()
    assert others.status == Status.REVOKED


def test_operation_on_too_many_says_so(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.admin.job_buttons.MOST_JOBS", 2)
    monkeypatch.setattr(job_actions, "_CHUNK", 1)
    response = post(boss, "retry", *[make(Status.FAILURE) for _ in range(3)])
    assert "More than 2 jobs match" in messages_of(response)
    assert Job.objects.filter(status=Status.PENDING).count() == 2


def test_operation_from_the_detail_returns_to_it(boss: Client) -> None:
    row = make(Status.FAILURE)
    response = post(boss, "retry", row, next=page(row))
    assert response.redirect_chain == [(page(row), 302)]


# --- deletion -------------------------------------------------------------------------------------


def test_delete_ended_only(boss: Client) -> None:
    ended, live = make(Status.FAILURE), make(Status.PENDING)
    Attempt.objects.create(job=ended, attempt=1, status="FAILURE", ended_at=timezone.now())
    response = post(boss, "delete_selected", ended, live)
    assert "1 job was deleted. 1 was skipped: 1 is pending." in messages_of(response)
    assert list(Job.objects.all()) == [live]
    assert not Attempt.objects.exists()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.action_flag) == (str(ended.pk), DELETION)


def test_delete_skips_and_reports_needed_jobs(boss: Client) -> None:
    needed, taker = make(has_dependents=True), make(Status.WAITING, pending_parents=1)
    Edge.objects.create(parent_id=needed.pk, child_id=taker.pk)
    response = post(boss, "delete_selected", needed, next=page(needed))
    assert "0 jobs were deleted. 1 was skipped: 1 another job" in messages_of(response)
    assert response.redirect_chain == [(page(needed), 302)]
    assert Job.objects.count() == 2
    assert not LogEntry.objects.exists()


def test_delete_asks_first_and_reads_no_attempts(boss: Client) -> None:
    row = make(Status.FAILURE)
    Attempt.objects.create(job=row, attempt=1, status="FAILURE", ended_at=timezone.now())
    with CaptureQueriesContext(connection) as asked:
        html = boss.post(LIST, {"action": "delete_selected", "_selected_action": [row.pk],
                                "index": "0"}).content.decode()  # fmt: skip
    assert page(row) in html
    assert Job.objects.exists()
    with CaptureQueriesContext(connection) as done:
        post(boss, "delete_selected", row)
    queries = [one["sql"] for one in (*asked, *done)]
    assert not [sql for sql in queries if "SELECT" in sql and "traceback" in sql]


def test_operation_reads_no_choices_and_no_counts(boss: Client) -> None:
    row = make(Status.FAILURE)
    form = {"action": "retry", "_selected_action": [row.pk], "index": "0"}
    with CaptureQueriesContext(connection) as captured:
        boss.post(LIST, form)
    row.refresh_from_db()
    assert row.status == Status.PENDING
    unneeded = ("COUNT(", "django_jobs_measurement", "django_jobs_queue")
    assert not [one["sql"] for one in captured for name in unneeded if name in one["sql"]]


def test_post_of_a_user_without_operations_reads_no_rows(
    client_of: Callable[..., Client],
) -> None:
    row = make(Status.FAILURE)
    form = {"action": "retry", "_selected_action": [row.pk], "index": "0"}
    assert list(client_of("view_job").post(LIST, form).context["cl"].result_list) == []
    row.refresh_from_db()
    assert row.status == Status.FAILURE


@pytest.mark.parametrize("name", ["name", "queue", "error", "worker", "schedule"])
@pytest.mark.parametrize("value", ["", "other"])
def test_operation_on_all_takes_those_of_the_filters(boss: Client, name: str, value: str) -> None:
    row = make(Status.FAILURE, error_class="builtins.KeyError")
    form = {"action": "retry", "_selected_action": [row.pk], "index": "0", "select_across": "1"}
    boss.post(f"{LIST}?{name}={value}", form)
    row.refresh_from_db()
    assert row.status == Status.FAILURE


def test_delete_from_the_detail_goes_to_the_list(boss: Client) -> None:
    row = make()
    assert 'value="delete_selected"' in boss.get(page(row)).content.decode()
    response = post(boss, "delete_selected", row, next=page(row))
    assert response.redirect_chain == [(LIST, 302)]
    assert not Job.objects.exists()


def test_delete_has_no_page_for_a_single_job(boss: Client) -> None:
    row = make()
    url = f"{LIST}{row.pk}/delete/"
    assert url not in boss.get(page(row)).content.decode()
    assert boss.post(url, {"post": "yes"}).status_code == 403


def test_delete_needs_its_permission(client_of: Callable[..., Client]) -> None:
    client = client_of("view_job", "retry_job", "revoke_job", "run_job")
    row = make()
    for url in (LIST, page(row)):
        assert 'value="delete_selected"' not in client.get(url).content.decode()
    post(client, "delete_selected", row)
    assert Job.objects.exists()


# --- what is never shown --------------------------------------------------------------------------


def test_redaction_by_name_of_parameter_and_by_option(boss: Client, secretive: str) -> None:
    row = make(Status.FAILURE, name=secretive, args=["ann", SECRET], kwargs={"code": "12345678"})
    for url in (LIST, page(row)):
        html = boss.get(url).content.decode()
        assert SECRET not in html
        assert "12345678" not in html
        assert REDACTED in html
        assert "ann" in html


def test_no_argument_of_an_unknown_function_is_shown(boss: Client) -> None:
    row = make(name="gone.away", args=[SECRET], kwargs={"city": "Oslo"}, result="in Oslo")
    for url in (LIST, page(row)):
        html = boss.get(url).content.decode()
        assert SECRET not in html
        assert "Oslo" not in html
        assert "city" in html


def test_redaction_of_result_headers_progress_and_message(boss: Client, secretive: str) -> None:
    row = make(
        Status.FAILURE,
        name=secretive,
        args=["ann", SECRET],
        result={"token": "tok-tok-tok", "text": f"it was {SECRET}"},
        headers={"authorization": "Bearer abcdef"},
        progress={"message": f"trying {SECRET}"},
        error_message=f"wrong: {SECRET}",
        error_class="builtins.ValueError",
    )
    html = boss.get(page(row)).content.decode()
    assert not [text for text in (SECRET, "tok-tok-tok", "abcdef") if text in html]
    assert "it was " in html
    assert "wrong: " in html


def test_rows_are_escaped(boss: Client) -> None:
    bad = "<script>alert(1)</script>"
    row = make(Status.FAILURE, name=bad, queue=bad, args=[bad], error_class=bad, error_message=bad)
    Attempt.objects.create(
        job=row, attempt=1, status="FAILURE", ended_at=timezone.now(), error_class=bad,
        error_message=bad, traceback=bad,
    )  # fmt: skip
    for url in (LIST, page(row)):
        html = boss.get(url).content.decode()
        assert bad not in html
        assert "&lt;script&gt;" in html


def test_rows_broken_by_hand_are_shown(boss: Client) -> None:
    row = make()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_jobs_job SET args = '{oops', result = '[', status = 'ODD'")
    for url in (LIST, page(row)):
        response = boss.get(url)
        assert "(unreadable)" in response.content.decode()
        assert "oops" not in response.content.decode()


def test_long_arguments_are_cut_in_the_list(boss: Client) -> None:
    row = make(args=["a" * 500])
    huge = make(args=["é" * 5000])  # a letter that no id and no token has
    html = boss.get(LIST).content.decode()
    assert "a" * 60 in html
    assert "a" * 100 not in html
    assert "éé" not in html
    assert "a" * 500 in boss.get(page(row)).content.decode()
    assert "é" * 5000 in boss.get(page(huge)).content.decode()


# --- what is shown --------------------------------------------------------------------------------


def test_list_columns(boss: Client) -> None:
    make(Status.FAILURE, retries=2, claims=3, error_class="smtplib.SMTPServerDisconnected")
    html = re.sub(r"<[^>]+>", " ", boss.get(LIST).content.decode())
    error = "SMTPServerDisconnected"
    for text in ("failure", "tests.jobs.add", "a=1, b=2", "3/4", "10.0 s", error):
        assert text in html


def test_detail_shows_attempts_newest_first(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    row = make(Status.SUCCESS, claims=3, retries=2, worker_id=worker.pk)
    for number in (1, 2):
        Attempt.objects.create(
            job=row, attempt=number, status="RETRY", worker_id=worker.pk,
            started_at=row.enqueued_at, ended_at=row.enqueued_at + datetime.timedelta(seconds=2),
            error_class="builtins.KeyError", error_message=f"lost {number}",
            traceback=f"Traceback of {number}",
        )  # fmt: skip
    html = boss.get(page(row)).content.decode()
    assert re.findall(r'<th scope="row">(\d)</th>', html) == ["3", "2", "1"]
    assert html.index("Traceback of 2") < html.index("Traceback of 1")
    assert "2.0 s" in html
    assert "<td>w</td>" in html
    assert "2 of 3 retries" in html


def test_status_filter_and_tabs(boss: Client) -> None:
    for status in Status:
        make(status)
    for status in Status:
        response = boss.get(f"{LIST}?status={status}")
        assert [row.status for row in response.context["cl"].result_list] == [status]
    tabs = boss.get(LIST).context["status_tabs"]
    assert [str(tab.get("count")) for tab in tabs] == ["None", *["1"] * len(Status)]
    assert list(boss.get(f"{LIST}?status=NONSENSE").context["cl"].result_list) == []


def test_other_filters(boss: Client) -> None:
    mail = make(queue="mail", name="tests.jobs.send")
    make()
    for query in ("queue=mail", "name=tests.jobs.send", "q=SEND"):
        response = boss.get(f"{LIST}?{query}")
        assert list(response.context["cl"].result_list) == [mail]
        tabs = response.context["status_tabs"][1:]
        assert [tab["count"] for tab in tabs] == ["0", "0", "0", "0", "0", "1", "0", "0"]
    assert boss.get(f"{LIST}?queue=a%00b").status_code == 200


def test_search_by_id(boss: Client) -> None:
    row, _other = make(), make()
    for text in (str(row.pk), f" {row.pk.hex} "):
        assert list(boss.get(LIST, {"q": text}).context["cl"].result_list) == [row]


def test_list_is_always_ordered_by_id(boss: Client) -> None:
    rows = [make(queue=queue) for queue in "bca"]
    for query in ("", "?o=1", "?o=5.-2"):
        assert list(boss.get(LIST + query).context["cl"].result_list) == rows[::-1]


# --- how much is read -----------------------------------------------------------------------------


def queries_of(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.usefixtures("overview_kept")
def test_list_queries_do_not_grow_with_the_jobs(boss: Client) -> None:
    make_many(10)
    queries_of(boss, LIST)
    few = queries_of(boss, LIST)
    make_many(290, Status.FAILURE)
    many = queries_of(boss, LIST)
    assert len(many) == len(few) <= 12


def test_list_counts_no_more_than_the_cap(boss: Client) -> None:
    make_many(3)
    boss.get(LIST)  # the groups of failures, which are kept, have a bound of their own
    for url in (LIST, f"{LIST}?status=FAILURE", f"{LIST}?q=add", f"{LIST}?queue=default"):
        counted = [sql for sql in queries_of(boss, url) if "COUNT(" in sql.upper()]
        assert counted
        for sql in counted:
            bounds = [capped_count.CAP + 1, changelist.MOST_SEARCHED]
            limits = sum(sql.count(f"LIMIT {bound})") for bound in bounds)
            assert sql.upper().count("COUNT(") == limits


def test_list_leaves_large_columns_in_the_database(boss: Client) -> None:
    make_many(3)
    (rows,) = [sql for sql in queries_of(boss, LIST) if "args_text" in sql]
    # Options are read: the args of a job with results of others begin at parameter two.
    assert "options_text" in rows
    # Of an error message, the begin is read.
    rows = re.sub(r"(SUBSTR|LEFT)\([^()]*error_message[^()]*1000\)", "", rows, flags=re.IGNORECASE)
    columns = rows.partition("CASE")[0]
    assert not re.search(r"\.[`\"](result|progress|headers|options|error_message)[`\"]", columns)
    assert not re.search(r"\.[`\"](result|progress|headers|error_message)[`\"]", rows)


def test_list_shows_a_capped_count(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped_count, "CAP", 3)
    make_many(3)
    assert str(boss.get(LIST).context["cl"].result_count) == "3"
    make_many(3)
    response = boss.get(LIST)
    assert "3+ jobs" in response.content.decode()
    assert '<span class="jobs-count">3+</span>' in response.content.decode()


def test_capped_count_is_grouped_once(boss: Client, settings: Any, monkeypatch: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    monkeypatch.setattr("django_jobs.admin.changelist.total", _more_than_the_cap)
    make()
    assert "10,000+ jobs" in boss.get(LIST).content.decode()


def _more_than_the_cap(rows: Any) -> capped_count.CappedCount:
    return capped_count.CappedCount(capped_count.CAP + 1)


# --- workers and queues ---------------------------------------------------------------------------


def test_worker_states(boss: Client, new_worker: Any) -> None:
    new_worker(queues=["mail", "default"])
    new_worker(-5)
    new_worker(stopped_at=timezone.now())
    html = boss.get("/admin/django_jobs/worker/").content.decode()
    states = re.findall(r"</svg>(\w+)</span>", html)
    assert states == ["stopped", "lost", "live"]
    assert "mail, default" in html
    assert "all queues" in html


def test_workers_are_read_only(boss: Client) -> None:
    assert boss.get("/admin/django_jobs/worker/add/").status_code == 403
    assert Worker.objects.count() == 0
