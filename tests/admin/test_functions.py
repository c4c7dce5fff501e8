"""The admin's pages of job functions: the registry, and the form that enqueues a call."""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_jobs import job
from django_jobs.api.job import JobFunction
from django_jobs.ids import uuid7
from django_jobs.limits.overrides import set_limits
from django_jobs.models import Job, Limit, Measurement
from django_jobs.models.histogram import Errors, Tally
from django_jobs.status import Status
from tests.admin.test_jobs import make, messages_of

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/function/"


@pytest.fixture
def send(registered: dict[str, Any]) -> JobFunction[..., Any, Any]:
    @job(name="shop.send", queue="mail", sensitive=("code",), max_retries=7)
    def send(
        user_id: int,
        subject: str,
        body: str = "Hello",
        urgent: bool = False,
        weight: float = 1.5,
        extra: Any = None,
        code: str = "12345678",
    ) -> None:
        """Send a mail."""

    return send


def enqueue(client: Client, name: str = "shop.send", **fields: str) -> Any:
    data = {f"argument_{key}": value for key, value in fields.items() if key[0] != "_"}
    data |= {key[1:]: value for key, value in fields.items() if key[0] == "_"}
    return client.post(f"{LIST}{name}/", data, follow=True)


def errors_of(response: Any) -> list[str]:
    form = response.context["form"]
    return [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]


def test_list_shows_every_function_with_its_options(boss: Client, send: Any) -> None:
    html = boss.get(LIST).content.decode()
    for text in ("tests.jobs.add", "shop.send", "max_retries=7", "mail"):
        assert text in html


def test_page_shows_signature_options_and_runs(boss: Client, send: Any) -> None:
    make(Status.FAILURE, name="shop.send")
    html = boss.get(f"{LIST}shop.send/").content.decode()
    assert "Send a mail." in html
    assert "Last 1 run: 1 failed" in html
    assert "By default" in html
    assert "12345678" not in html.split('<h2 id="jobs-options"')[0].split("jobs-enqueue")[1]
    assert boss.get(f"{LIST}no.such/").status_code == 404


def test_page_links_jobs_only_with_the_view_permission(
    boss: Client, client_of: Callable[..., Client], registered: dict[str, Any]
) -> None:
    @job(name="a&b")
    def odd() -> None: ...

    tiles = boss.get(f"{LIST}a&b/").context["tiles"]
    (failed,) = [tile["url"] for tile in tiles if tile["label"] == "Failed"]
    row = make(Status.FAILURE, name="a&b")
    assert list(boss.get(failed).context["cl"].result_list) == [row]
    User.objects.all().delete()
    html = client_of("view_function").get(f"{LIST}a&b/").content.decode()
    assert 'href="/admin/django_jobs/job/' not in html


def test_page_hides_defaults_of_sensitive_parameters(boss: Client, send: Any) -> None:
    html = boss.get(f"{LIST}shop.send/").content.decode()
    assert "= ********)" in html
    assert "12345678" not in html


def test_page_shows_limits_of_operators(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="shop.call", rate_limit="9/s", concurrency=9, concurrency_key=["user"])
    def call(user: int) -> None: ...

    set_limits("shop.call", rate_limit="1/m")
    set_limits("shop.call", concurrency=3, key={"user": 1})
    set_limits("tests.jobs.add", concurrency=7)
    options = boss.get(f"{LIST}shop.call/").context["options"]
    shown = [(one["name"], one["value"]) for one in options if one.get("by_operator")]
    assert shown[0] == ("rate_limit", "1/m")
    assert re.fullmatch(r"concurrency #[0-9a-f]{32}", shown[1][0])
    assert shown[1][1] == "3"
    assert len(shown) == 2
    assert "9/s" not in [one["value"] for one in options]


def test_form_enqueues_with_typed_arguments(boss: Client, send: Any) -> None:
    response = enqueue(
        boss, user_id="42", subject="  Hi ", urgent="true", weight="0.5", extra='{"a": [1]}',
        _priority="3", _countdown="60",
    )  # fmt: skip
    row = Job.objects.get()
    assert response.redirect_chain == [(f"/admin/django_jobs/job/{row.pk}/change/", 302)]
    assert "A job was enqueued." in messages_of(response)
    assert (row.args, row.queue, row.priority, row.status) == ([], "mail", 3, Status.SCHEDULED)
    assert row.kwargs == {
        "user_id": 42, "subject": "  Hi ", "urgent": True, "weight": 0.5, "extra": {"a": [1]},
    }  # fmt: skip
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.action_flag) == (str(row.pk), ADDITION)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"user_id": ""}, "argument_user_id: This field is required."),
        ({"user_id": "x"}, "argument_user_id: Enter a whole number."),
        ({"extra": "{"}, "argument_extra: Enter JSON"),
        ({"extra": "NaN"}, "__all__: "),
        ({"_queue": "#bad"}, "__all__: queue"),
        ({"_priority": "99999"}, "priority: "),
        ({"_countdown": "-1"}, "countdown: "),
    ],
)
def test_invalid_form_shows_errors_and_writes_nothing(
    boss: Client, send: Any, fields: dict[str, str], error: str
) -> None:
    response = enqueue(boss, **{"user_id": "1", "subject": "x", **fields})
    assert error in "\n".join(errors_of(response))
    assert not Job.objects.exists()
    assert not LogEntry.objects.exists()


def test_form_does_not_send_a_secret_back(boss: Client, send: Any) -> None:
    html = enqueue(boss, user_id="x", subject="x", code="hunter2-top").content.decode()
    assert "hunter2-top" not in html
    assert 'type="password"' in html


class Size(enum.Enum):
    SMALL, LARGE = 1, 2


def test_form_has_a_field_for_each_type(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="shop.order")
    def order(
        day: datetime.date,
        mode: Literal["draft", "final", 7],
        size: Size = Size.SMALL,
        price: decimal.Decimal | None = None,
        number: int | None = None,
        other: int | None = 3,
        note: Any = "x",
    ) -> None: ...

    html = boss.get(f"{LIST}shop.order/").content.decode()
    assert re.search(r'<input type="date" name="argument_day"', html)
    assert '<option value="&quot;draft&quot;">draft</option>' in html
    assert '<option value="2">2</option>' in html
    assert re.search(r'<input type="number" name="argument_number"', html)
    given = {"day": "2026-01-31", "mode": "7", "size": "2", "number": "5", "note": "null"}
    enqueue(boss, "shop.order", **given, other="null", price="2.50")
    assert Job.objects.get().kwargs == {
        "day": "2026-01-31", "mode": 7, "size": 2, "number": 5, "note": None, "other": None,
        "price": "2.50",
    }  # fmt: skip
    wrong = {**given, "day": "31.1.2026", "mode": "8", "price": "a lot", "other": '"x"'}
    errors = "\n".join(errors_of(enqueue(boss, "shop.order", **wrong)))
    for name in ("day: Enter a valid date", "mode: Select a valid choice", "price: Argument 'p"):
        assert f"argument_{name}" in errors
    assert Job.objects.count() == 1


def test_form_of_positions_and_rests(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="odd")
    def odd(a: int, b: int = 2, /, c: int = 3, *rest: int, d: str = "", **more: int) -> None: ...

    enqueue(boss, "odd", a="1", c="5", d="x", more='{"z": 1}')
    assert "b" in " ".join(errors_of(enqueue(boss, "odd", a="1", rest="[7]", c="5")))
    enqueue(boss, "odd", a="1", b="9", c="5", rest="[7, 8]")
    assert "a JSON array" in errors_of(enqueue(boss, "odd", a="1", rest="{}"))[0]
    assert "a JSON object" in errors_of(enqueue(boss, "odd", a="1", more="[]"))[0]
    told = [(row.args, row.kwargs) for row in Job.objects.order_by("pk")]
    assert told == [([1], {"c": 5, "d": "x", "z": 1}), ([1, 9, 5, 7, 8], {})]


def test_form_of_a_bound_function_without_annotations(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="bound", bind=True)
    def bound(self, a, b=None): ...  # type: ignore[no-untyped-def]

    assert "self" not in boss.get(f"{LIST}bound/").context["form"].fields
    enqueue(boss, "bound", a='"text"')
    assert Job.objects.get().kwargs == {"a": "text"}


def test_form_needs_its_permission(client_of: Callable[..., Client], send: Any) -> None:
    client = client_of("view_function")
    assert "jobs-enqueue" not in client.get(f"{LIST}shop.send/").content.decode()
    assert enqueue(client, user_id="1", subject="x").status_code == 403
    assert not Job.objects.exists()


def test_user_without_view_permission_stays_on_the_page(
    client_of: Callable[..., Client], send: Any
) -> None:
    client = client_of("view_function", "enqueue_job")
    response = enqueue(client, user_id="1", subject="x")
    assert response.redirect_chain == [(f"{LIST}shop.send/", 302)]
    assert Job.objects.count() == 1


# --- numbers, errors, runs and limits -------------------------------------------------------------


def measured(minutes_ago: int, name: str = "shop.send", failed: int = 0) -> None:
    tally = Tally(sent=3, succeeded=3 - failed, failed=failed)
    tally.measure([0.1, 0.1, 0.1], [0.2, 0.2, 4.0])
    if failed:
        tally.errors["builtins.OSError"] = Errors(failed, int(time.time()), str(uuid7()))
    row = Measurement(
        starts_at=int(time.time()) // 60 * 60 - minutes_ago * 60, queue="mail", name=name
    )
    row.tally = tally
    row.save()


def test_page_has_the_charts_of_its_own_numbers(boss: Client, send: Any) -> None:
    measured(1)
    measured(600)
    measured(1, name="other")
    day = boss.get(f"{LIST}shop.send/").context
    hour = boss.get(f"{LIST}shop.send/", {"window": "1h"}).context
    assert [context["tiles"][0]["value"] for context in (day, hour)] == ["6", "3"]
    assert [chart.key for chart in day["charts"]] == ["ended", "wait", "run", "runs"]
    (fast, *_between, slow) = hour["charts"][-1].rows[::-1]
    assert (fast, slow) == (["150 ms – 225 ms", "2"], ["3.8 s – 5.8 s", "1"])
    html = boss.get(f"{LIST}shop.send/").content.decode()
    assert set(re.findall(r"jobs-line jobs-(\w+)", html)) == {"p50", "p95", "p99"}


def test_page_without_numbers_has_no_histogram(boss: Client, send: Any) -> None:
    charts = boss.get(f"{LIST}shop.send/").context["charts"]
    assert [chart.key for chart in charts] == ["ended", "wait", "run"]


def test_errors_can_be_retried_all_at_once(boss: Client, send: Any) -> None:
    measured(1, failed=1)
    failed = make(Status.FAILURE, name="shop.send", error_class="builtins.OSError")
    other = make(Status.FAILURE, name="shop.send", error_class="builtins.KeyError")
    errors = boss.get(f"{LIST}shop.send/").context["errors"]
    error = next(one for one in errors if one["error"] == "OSError")
    assert (error["left"], error["hour"]) == ("1", "1")
    data = {"action": "retry", "index": "0", "select_across": "1", "confirmed": "1"}
    boss.post(error["url"], data | {"_selected_action": "all"})
    failed.refresh_from_db()
    other.refresh_from_db()
    assert (failed.status, other.status) == (Status.PENDING, Status.FAILURE)


def test_errors_are_those_of_the_function(boss: Client, send: Any) -> None:
    make(Status.FAILURE, name="shop.send", error_class="builtins.OSError")
    other = make(Status.FAILURE, name="tests.jobs.add", error_class="builtins.OSError")
    make(Status.FAILURE, name="tests.jobs.add", error_class="builtins.KeyError")
    (error,) = boss.get(f"{LIST}shop.send/").context["errors"]
    assert "status=FAILURE" in error["url"]
    data = {"action": "retry", "index": "0", "select_across": "1", "confirmed": "1"}
    boss.post(error["url"], data | {"_selected_action": "all"})
    other.refresh_from_db()
    assert other.status == Status.FAILURE
    assert Job.objects.get(name="shop.send").status == Status.PENDING


def test_error_without_failed_jobs_cannot_be_retried(boss: Client, send: Any) -> None:
    measured(1, failed=1)
    (error,) = boss.get(f"{LIST}shop.send/").context["errors"]
    assert (error["left"], error["is_retriable"]) == ("0", False)


def test_revoked_runs_are_not_among_the_slowest(boss: Client, send: Any) -> None:
    now = timezone.now()
    hour = now - datetime.timedelta(hours=1)
    make(Status.REVOKED, name="shop.send", started_at=hour, ended_at=now)
    kept = make(Status.FAILURE, name="shop.send", started_at=hour, ended_at=now)
    _newest, slowest = boss.get(f"{LIST}shop.send/").context["tables"]
    assert [run["pk"] for run in slowest["rows"]] == [kept.pk]


def test_option_of_an_operator_is_not_folded(boss: Client, send: Any) -> None:
    set_limits("shop.send", concurrency=2)
    context = boss.get(f"{LIST}shop.send/").context
    assert "concurrency" in {one["name"] for one in context["options"]}
    assert "concurrency" not in {one["name"] for one in context["defaults"]}


def test_form_of_limits_leaves_those_of_a_key(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="shop.call", concurrency=9, concurrency_key=["user"])
    def call(user: int) -> None: ...

    set_limits("shop.call", concurrency=3, key={"user": 1})
    assert boss.get(f"{LIST}shop.call/").context["limits"]["concurrency"].value() is None
    refused = boss.post(f"{LIST}shop.call/", {"set_limits": "1", "limits-concurrency": "0"})
    assert "concurrency" in refused.context["limits"].errors


def test_page_has_the_newest_and_the_slowest_runs(boss: Client, send: Any) -> None:
    now = timezone.now()
    took = [5, 1, 9, 2, 3, 4, 7]
    jobs = [
        make(name="shop.send", started_at=now - datetime.timedelta(seconds=one), ended_at=now)
        for one in took
    ]
    newest, slowest = boss.get(f"{LIST}shop.send/").context["tables"]
    assert [run["pk"] for run in newest["rows"]] == [job.pk for job in jobs[:1:-1]]
    assert f">…{str(jobs[-1].pk)[24:]}</a>" in boss.get(f"{LIST}shop.send/").content.decode()
    assert [run["took"] for run in slowest["rows"]] == ["9.0 s", "7.0 s", "5.0 s", "4.0 s", "3.0 s"]


def test_limits_are_set_refused_and_taken_back(
    boss: Client, client_of: Callable[..., Client], send: Any
) -> None:
    page = f"{LIST}shop.send/"
    data = {"set_limits": "1", "limits-concurrency": "2", "limits-rate_limit": "10/m"}
    boss.post(page, data)
    row = Limit.objects.get()
    assert (row.concurrency, row.rate_limit) == (2, "10/m")
    assert LogEntry.objects.get().object_repr == "shop.send"
    assert boss.get(page).context["limits"]["concurrency"].value() == 2
    refused = boss.post(page, data | {"limits-rate_limit": "often"})
    assert "rate_limit" in str(refused.context["limits"].non_field_errors())
    boss.post(page, {"set_limits": "1"})
    assert not Limit.objects.exists()
    User.objects.all().delete()
    viewer = client_of("view_function")
    assert viewer.get(page).context["limits"] is None
    assert viewer.post(page, data).status_code == 403


def test_options_with_defaults_are_folded(boss: Client, send: Any) -> None:
    context = boss.get(f"{LIST}shop.send/").context
    assert {"queue", "max_retries"} <= {one["name"] for one in context["options"]}
    assert "priority" in {one["name"] for one in context["defaults"]}


def test_breadcrumbs_lead_over_the_app(boss: Client, send: Any) -> None:
    html = boss.get(f"{LIST}shop.send/").content.decode().partition("breadcrumbs")[2]
    links = re.findall(r'<a href="([^"]+)">', html.partition("shop.send")[0])
    assert links == ["/admin/", "/admin/django_jobs/", LIST]
