"""The signed link that answers the question of a job: once, for a time, and never by a GET."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from django_jobs import JobContext, NoOpenQuestion, answer, approval_url, control, job
from django_jobs.api import signed_urls
from django_jobs.ids import uuid7
from django_jobs.models import Approval, Job, Step
from django_jobs.status import Status
from django_jobs.testing import run_jobs
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

GONE = "There is nothing to decide"


def asking(question: str = "Refund?", *args: Any, **options: Any) -> Any:
    @job(name="tests.asks", bind=True, sensitive=("code",))
    def asks(self: JobContext, code: str = "") -> str:
        return self.ask(question, **options).choice

    result = asks.delay(*args)
    run_jobs()
    return result


def state(result: Any) -> str:
    return Job.objects.get(pk=result.uuid).status


def test_link_shows_the_question_and_a_post_decides(client: Client) -> None:
    result = asking(form={"amount": int})
    url = approval_url(result.id, by="eve@example.com")
    page = client.get(url)
    assert page.status_code == 200
    assert "Refund?" in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert page["Referrer-Policy"] == "no-referrer"
    assert client.post(url, {"choice": "approve"}).status_code == 200  # the amount is missing
    assert state(result) == Status.WAITING
    told = client.post(url, {"choice": "approve", "comment": "fine", "form_amount": "5"})
    assert "You decided: approve" in told.content.decode()
    row = Approval.objects.get()
    assert (row.choice, row.decided_by, row.comment, row.answers) == (
        "approve", "eve@example.com", "fine", {"amount": 5},
    )  # fmt: skip
    run_jobs(until=result)
    assert result.get() == "approve"


@pytest.mark.parametrize("by", ["eve", "", "eve@example.com"])
def test_log_has_a_decision_by_the_link_of_a_user(client: Client, by: str) -> None:
    eve = User.objects.create_user("eve")
    result = asking()
    assert client.post(approval_url(result.id, by=by), {"choice": "approve"}).status_code == 200
    logged = LogEntry.objects.values_list("user_id", "object_id", "change_message")
    expected = [(eve.pk, str(result.id), "Decided by a signed link: approve.")]
    assert list(logged) == (expected if by == "eve" else [])


@pytest.mark.parametrize("method", ["get", "head"])
def test_scanner_that_opens_the_link_decides_nothing(client: Client, method: str) -> None:
    result = asking()
    url = approval_url(result.id)
    assert getattr(client, method)(f"{url}&choice=approve").status_code == 200
    assert state(result) == Status.WAITING
    assert client.put(url, {"choice": "approve"}).status_code == 405


def test_post_needs_the_token_of_the_form() -> None:
    client = Client(enforce_csrf_checks=True)
    result = asking()
    url = approval_url(result.id)
    assert client.post(url, {"choice": "approve"}).status_code == 403
    token = client.get(url).context["csrf_token"]
    client.post(url, {"choice": "approve", "csrfmiddlewaretoken": str(token)})
    assert state(result) == Status.PENDING


def test_unknown_choice_decides_nothing(client: Client) -> None:
    result = asking()
    for choice in ({}, {"choice": "maybe"}):
        assert client.post(approval_url(result.id), choice).status_code == 200
    assert state(result) == Status.WAITING


def test_link_decides_once(client: Client) -> None:
    result = asking()
    first, second = approval_url(result.id), approval_url(result.id)
    client.post(first, {"choice": "reject"})
    for url in (first, second):
        for response in (client.get(url), client.post(url, {"choice": "approve"})):
            assert response.status_code == 410
            assert GONE in response.content.decode()
    assert Approval.objects.get().choice == "reject"


def test_link_that_has_decided_does_not_decide_when_the_job_asks_again(client: Client) -> None:
    result = asking()
    url, unused = approval_url(result.id), approval_url(result.id)
    client.post(url, {"choice": "approve"})
    Job.objects.update(status=Status.PENDING)
    Step.objects.all().delete()  # as an operator lets a job begin anew
    run_jobs()
    assert state(result) == Status.WAITING
    for response in (client.get(url), client.post(url, {"choice": "approve"})):
        assert response.status_code == 410
    number = Approval.objects.exclude(link="").get().link
    with pytest.raises(NoOpenQuestion, match="a link decides once"):
        control.approvals.answer(result.id, "approve", link=number)
    assert state(result) == Status.WAITING
    client.post(unused, {"choice": "approve"})
    assert state(result) == Status.PENDING


def test_link_is_for_one_question(client: Client) -> None:
    result = asking()
    assert client.get(approval_url(result.id, key="ask#2")).status_code == 410
    other = approval_url(uuid7())
    assert client.get(other).status_code == 410
    token = urlsplit(approval_url(result.id)).query
    assert client.get(f"{urlsplit(other).path}?{token}").status_code == 403


def test_link_expires(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    result = asking()
    url = approval_url(result.id, max_age=datetime.timedelta(hours=1))
    now = signed_urls.time.time()
    monkeypatch.setattr(signed_urls.time, "time", lambda: now + 3_700)
    assert client.post(url, {"choice": "approve"}).status_code == 403
    assert state(result) == Status.WAITING


def test_link_may_be_made_before_the_job_asks(client: Client) -> None:
    @job(name="tests.mails", bind=True)
    def mails(self: JobContext) -> str:
        url = self.step("mail", lambda: approval_url(self.request.id or ""))
        assert url
        return self.ask("Sure?").choice

    result = mails.delay()
    run_jobs()
    client.post(Step.objects.get(key="mail").result, {"choice": "approve"})
    run_jobs()
    assert Job.objects.get(pk=result.uuid).result == "approve"


def test_link_of_the_status_decides_nothing(client: Client) -> None:
    result = asking()
    token = urlsplit(result.status_url()).query
    path = urlsplit(approval_url(result.id)).path
    assert client.post(f"{path}?{token}", {"choice": "approve"}).status_code == 403


def test_link_that_came_too_late_is_told_so(client: Client) -> None:
    result = asking()
    url = approval_url(result.id)
    answer(result.id, "reject")
    assert GONE in client.get(url).content.decode()
    done = jobs.add.delay(1, 2)
    assert client.get(approval_url(done.id)).status_code == 410


def test_secret_arguments_are_not_shown(client: Client) -> None:
    result = asking("Open with hunter2-top?", "hunter2-top")
    text = client.get(approval_url(result.id)).content.decode()
    assert "Open with ********?" in text


def test_question_is_text_not_html(client: Client) -> None:
    result = asking("<script>alert(1)</script>")
    text = client.get(approval_url(result.id)).content.decode()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_invalid_link_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="max_age must be from 1"):
        approval_url(uuid7(), max_age=0)
    with pytest.raises(ValueError, match="badly formed"):
        approval_url("7")


@pytest.mark.urls("testproject.website.urls")
def test_without_the_urls_it_says_what_to_add() -> None:
    with pytest.raises(ImproperlyConfigured, match=r'include\("django_jobs.urls"\)'):
        approval_url(uuid7())
