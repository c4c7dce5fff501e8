"""The state of one job for a project's own pages: the address, the tag and its script."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation

from django_jobs import job
from django_jobs.api import signed_urls
from django_jobs.api.result import AsyncResult
from django_jobs.models import Job
from django_jobs.status import Status
from django_jobs.web.views import status
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


def render(source: str, **context: Any) -> str:
    return Template("{% load django_jobs %}" + source).render(Context(context))


# --- the address --------------------------------------------------------------------------------


def test_status_url_shows_the_progress_of_the_job(client: Client) -> None:
    result = jobs.add.apply_async((1,), {"b": 987_654})
    Job.objects.update(status="STARTED", progress={"done": 3, "total": 10, "message": ""})
    response = client.get(result.status_url())
    state = response.json()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert (state["status"], state["ended"], state["text"]) == ("STARTED", False, "3 of 10")
    assert (state["done"], state["total"]) == (3, 10)
    assert state["id"] == str(result.id)
    assert "987654" not in response.content.decode()
    assert not {"result", "error_class", "error_message", "args", "kwargs", "name"} & set(state)


def test_result_is_shown_only_if_the_token_allows_it(
    client: Client, work: Callable[..., Any]
) -> None:
    @job
    def secretive() -> dict[str, Any]:
        return {"answer": "forty-two", "token": "abcdef"}

    good, bad = secretive.delay(), jobs.fail.delay("no luck")
    work()
    assert "forty-two" not in client.get(good.status_url()).content.decode()
    assert "no luck" not in client.get(bad.status_url()).content.decode()
    assert client.get(good.status_url(result=True)).json()["result"] == {
        "answer": "forty-two",
        "token": "********",
    }
    failed = client.get(bad.status_url(result=True)).json()
    assert (failed["error_class"], failed["error_message"]) == ("builtins.ValueError", "no luck")


def test_secret_arguments_are_shown_nowhere(client: Client, work: Callable[..., Any]) -> None:
    @job
    def spell(token: str) -> str:
        return f"used {token}"

    result = spell.delay("hunter2")
    Job.objects.update(status="STARTED", progress={"done": 1, "message": "using hunter2"})
    state = client.get(result.status_url()).json()
    assert state["message"] == state["text"] == "using ********"
    Job.objects.update(status="PENDING")
    work()
    Job.objects.update(error_message="hunter2 is wrong")
    state = client.get(result.status_url(result=True)).json()
    assert (state["result"], state["error_message"]) == ("used ********", "******** is wrong")


def test_unreadable_result_is_shown_as_unreadable(client: Client) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="SUCCESS")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_jobs_job SET result = '{'")
    assert client.get(result.status_url(result=True)).json()["result"] == "(unreadable)"


def test_address_cannot_be_changed(client: Client) -> None:
    mine, other = jobs.add.delay(1), jobs.add.delay(2)
    url = mine.status_url()
    token = parse_qs(urlsplit(url).query)["token"][0]
    bare = reverse("django_jobs:status", args=[other.id])
    for wrong in (
        bare,
        f"{bare}?token={token}",
        url[:-1],
        f"{urlsplit(url).path}?token={token.swapcase()}",
        f"{urlsplit(url).path}?token=",
    ):
        response = client.get(wrong)
        assert response.status_code == 403
        assert list(response.json()) == ["error"]
    assert client.post(url).status_code == 405


def test_address_is_good_for_its_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = jobs.add.delay(1).status_url(max_age=60)
    now = signed_urls.time.time()
    monkeypatch.setattr(signed_urls.time, "time", lambda: now + 50)
    assert client.get(url).status_code == 200
    monkeypatch.setattr(signed_urls.time, "time", lambda: now + 70)
    assert client.get(url).status_code == 403


def test_user_with_the_permission_needs_no_token(client: Client) -> None:
    result = jobs.add.delay(1)
    path = reverse("django_jobs:status", args=[result.id])
    user = User.objects.create_user("joe", is_staff=True)
    client.force_login(user)
    assert client.get(path).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert client.get(path).json()["status"] == "PENDING"
    assert "result" not in client.get(path).json()


def test_status_without_the_auth_middleware_is_closed() -> None:
    result = jobs.add.delay(1)
    request = RequestFactory().get("/")
    assert status(request, result.id).status_code == 403
    request.user = AnonymousUser()
    assert status(request, result.id).status_code == 403


def test_unknown_job_is_404_with_the_permission(client: Client) -> None:
    unknown = uuid.uuid4()
    assert client.get(AsyncResult(unknown).status_url()).status_code == 404
    assert client.get(reverse("django_jobs:status", args=[unknown])).status_code == 403


@pytest.mark.parametrize("max_age", [0, -5])
def test_max_age_must_be_above_0(max_age: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        AsyncResult(uuid.uuid4()).status_url(max_age=max_age)


@pytest.mark.urls("testproject.website.urls")
def test_without_the_urls_it_says_what_to_add() -> None:
    with pytest.raises(ImproperlyConfigured, match=r'include\("django_jobs.urls"\)'):
        AsyncResult(uuid.uuid4()).status_url()


@pytest.mark.parametrize("value", list(Status))
def test_every_status_has_a_text(client: Client, value: Status) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status=value)
    state = client.get(result.status_url()).json()
    assert state["text"]
    assert state["text"] != value.value
    assert state["ended"] is (value in ("SUCCESS", "FAILURE", "REVOKED"))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ({"done": 1, "total": 4, "message": "Page 1"}, "Page 1"),
        ({"done": 0.5, "total": 2, "message": ""}, "0.5 of 2"),
        ({"done": 1_234_567, "total": 2e6, "message": ""}, "1,234,567 of 2,000,000"),
        ({"done": 7, "total": None, "message": ""}, "Running"),
        ({"state": "BUSY", "meta": {"x": 1}}, "Running"),
        (None, "Running"),
        ("broken by hand", "Running"),
        ({"done": "x", "total": []}, "Running"),
    ],
)
def test_text_of_a_running_job(client: Client, shown: Any, text: str) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="STARTED", progress=shown)
    assert client.get(result.status_url()).json()["text"] == text


# --- the tag ------------------------------------------------------------------------------------


def test_tag_shows_the_state_and_names_the_address(client: Client) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="STARTED", progress={"done": 0.5, "total": 4, "message": "<b>hi</b>"})
    with translation.override("de"):  # which writes 0,5
        html = render("{% job_progress result %}", result=result)
    assert 'value="0.5" max="4"' in html
    assert "&lt;b&gt;hi&lt;/b&gt;" in html
    assert "data-job-reload" not in html
    (url,) = re.findall(r'data-job-status="([^"]+)"', html)
    assert client.get(url.replace("&amp;", "&")).json()["text"] == "<b>hi</b>"


def test_tag_has_nothing_inline() -> None:
    html = render("{% job_progress id reload=True %}", id=str(jobs.add.delay(1).id))
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", html)
    assert "data-job-reload" in html
    (source,) = re.findall(r'<script type="module" src="/static/([^"]+)">', html)
    assert finders.find(source)


def test_tag_of_an_ended_job_needs_no_script(work: Callable[..., Any]) -> None:
    result = jobs.add.delay(1)
    work()
    html = render("{% job_progress result %}", result=result)
    assert 'value="1" max="1"' in html
    assert "Done" in html
    assert "<script" not in html


def test_tag_of_a_job_that_is_gone_is_empty() -> None:
    assert render("{% job_progress id %}", id=uuid.uuid4()).strip() == ""


def test_script_reads_what_the_template_writes() -> None:
    script = Path(str(finders.find("django_jobs/progress.js"))).read_text()
    html = render("{% job_progress result reload=True %}", result=jobs.add.delay(1))
    for name in ("data-job-status", "data-job-text", "data-job-state", "data-job-reload"):
        words = name.removeprefix("data-").split("-")
        in_script = words[0] + "".join(word.title() for word in words[1:])
        assert name in html
        assert name in script or in_script in script
