"""A program enqueues by a signed POST."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections
from django.test import Client, RequestFactory
from django.urls import reverse

from django_jobs import AsyncResult, job
from django_jobs.models import Job
from django_jobs.testing import run_jobs
from django_jobs.web.enqueue import WINDOW, enqueue, sign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered", "on")]

SECRET, OLD = "s" * 32, "o" * 40


@pytest.fixture
def on(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ENQUEUE_URL": {"SECRETS": [SECRET, OLD], "JOBS": ["tests.jobs.*"]}}


def post(client: Client, body: Any, **given: Any) -> Any:
    """Send *body* as a program does, but for what is *given* of the headers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = str(given.get("at", int(time.time())))
    signature = given.get("signature", sign(given.get("secret", SECRET), at, data))
    headers = {"X-Jobs-Timestamp": at, "X-Jobs-Signature": signature}
    return client.post(
        reverse("django_jobs:enqueue"), data, content_type="application/json", headers=headers
    )


def test_a_signed_request_enqueues() -> None:
    client = Client(enforce_csrf_checks=True)
    call = {"job": "tests.jobs.add", "args": [1], "kwargs": {"b": 2}, "queue": "mail",
            "priority": 7, "headers": {"tenant": "a"}, "countdown": 0, "expires": 3600}  # fmt: skip
    response = post(client, call)
    assert response.status_code == 201
    answer = response.json()
    row = Job.objects.get()
    assert answer == {"id": str(row.pk), "created": True}
    assert (row.queue, row.priority, row.headers) == ("mail", 7, {"tenant": "a"})
    assert row.pk.version == 7
    assert "no-store" in response["Cache-Control"]
    run_jobs()
    assert AsyncResult(row.pk).result == 3


def test_each_secret_signs(client: Client) -> None:
    assert post(client, {"job": "tests.jobs.add", "args": [1]}, secret=OLD).status_code == 201


@pytest.mark.parametrize(
    "given",
    [
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "ü" * 64},
        {"secret": "x" * 32},
        {"at": "", "signature": sign(SECRET, "1", b"{}")},
    ],
)
def test_a_wrong_signature_is_refused(client: Client, given: Any) -> None:
    response = post(client, {"job": "tests.jobs.add", "args": [1]}, **given)
    assert response.status_code == 401
    assert response.json() == {"error": "the signature is missing or wrong"}
    assert not Job.objects.exists()


def test_a_changed_body_or_time_is_refused(client: Client) -> None:
    at, body = str(int(time.time())), json.dumps({"job": "tests.jobs.add", "args": [1]}).encode()
    signature = sign(SECRET, at, body)
    changed = post(client, body.replace(b"[1]", b"[9]"), at=at, signature=signature)
    later = post(client, body, at=str(int(at) + 1), signature=signature)
    assert [changed.status_code, later.status_code] == [401, 401]


@pytest.mark.parametrize("at", [-WINDOW - 5, WINDOW + 5, "x", "9" * 5000, "-1", "1e9", "²"])
def test_a_stale_request_is_refused(client: Client, at: Any) -> None:
    if isinstance(at, int):
        at = int(time.time()) + at
    body = b'{"job": "tests.jobs.add", "args": [1]}'
    try:
        response = post(client, body, at=at)
    except UnicodeEncodeError:
        return  # no header has it
    assert response.status_code == 401
    assert not Job.objects.exists()


def test_a_replayed_request_finds_its_job(client: Client) -> None:
    at, body = str(int(time.time())), {"job": "tests.jobs.add", "args": [1]}
    first, again = post(client, body, at=at), post(client, body, at=at)
    assert [first.status_code, again.status_code] == [201, 200]
    assert again.json() == {"id": first.json()["id"], "created": False}
    assert Job.objects.count() == 1
    run_jobs()
    assert post(client, body, at=at).json()["created"] is False
    assert post(client, body, at=str(int(at) - 1)).json()["created"] is True


def test_an_id_of_ones_own_makes_it_happen_once(client: Client) -> None:
    mine = str(uuid.uuid4())
    call = {"job": "tests.jobs.add", "args": [1], "id": mine}
    first = post(client, call)
    again = post(client, call, at=int(time.time()) - 7)
    assert (first.json(), again.json()) == (
        {"id": mine, "created": True}, {"id": mine, "created": False},
    )  # fmt: skip
    other = post(client, {"job": "tests.jobs.send", "args": [1], "id": mine})
    assert other.status_code == 409


def test_a_unique_job_that_lives_is_named(client: Client) -> None:
    @job(name="tests.jobs.once", unique=True)
    def once(number: int) -> None: ...

    @job(name="tests.jobs.only", unique="raise")
    def only(number: int) -> None: ...

    live, refused = once.delay(1), only.delay(1)
    response = post(client, {"job": "tests.jobs.once", "args": [1]})
    assert (response.status_code, response.json()["id"]) == (200, live.id)
    response = post(client, {"job": "tests.jobs.only", "args": [1]})
    assert response.status_code == 409
    assert refused.id not in response.content.decode()


@pytest.mark.parametrize("name", ["auth.delete_all", "tests.jobs.missing", "", "tests"])
def test_only_named_jobs_are_allowed(client: Client, name: str) -> None:
    @job(name="auth.delete_all")
    def delete_all() -> None: ...

    response = post(client, {"job": name})
    assert (response.status_code, response.json()["error"]) == (403, "this job is not allowed here")


def test_a_job_whose_rows_go_at_once_is_not_allowed(client: Client) -> None:
    @job(name="tests.jobs.brief", result_expires=60)
    def brief() -> None: ...

    response = post(client, {"job": "tests.jobs.brief"})
    assert response.status_code == 403
    assert "600 s" in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "must be JSON"),
        (b"\xff", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        ([], "must be a JSON object"),
        ({}, "job must be the name"),
        ({"job": 1}, "job must be a text"),
        ({"job": "tests.jobs.add", "args": {}}, "args must be an array"),
        ({"job": "tests.jobs.add", "kwargs": []}, "kwargs must be an object"),
        (
            {"job": "tests.jobs.add", "args": [1], "priority": True},
            "be a whole number",
        ),
        ({"job": "tests.jobs.add", "args": [1], "priority": 40_000}, "priority must be"),
        ({"job": "tests.jobs.add", "args": [1], "queue": "a,b"}, "queue must not have a comma"),
        ({"job": "tests.jobs.add", "args": [1], "countdown": -1e99}, "countdown"),
        ({"job": "tests.jobs.add", "args": [1], "id": "x"}, "id must be a UUID"),
        ({"job": "tests.jobs.add", "args": [1], "eta": "now"}, "Unknown field 'eta'"),
        ({"job": "tests.jobs.add"}, "missing a required argument: 'a'"),
        ({"job": "tests.jobs.add", "args": [1, 2, 3]}, "too many positional"),
        ({"job": "tests.jobs.add", "args": [{"a": "\0"}]}, "NUL"),
        (b'{"job": "tests.jobs.add", "args": [NaN]}', "nan"),
    ],
)
def test_what_is_wrong_is_said(client: Client, body: Any, error: str) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert error.lower() in response.json()["error"].lower()
    assert not Job.objects.exists()


def test_an_error_quotes_no_secret(client: Client) -> None:
    @job(name="tests.jobs.typed")
    def typed(number: int, password: int) -> None: ...

    call = {"job": "tests.jobs.typed", "args": [1], "kwargs": {"password": "hunter2hunter2"}}
    text = post(client, call).content.decode()
    assert "hunter2" not in text
    assert SECRET not in text


def test_a_large_body_is_refused(client: Client, settings: Any) -> None:
    settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"MAX_PAYLOAD_BYTES": 100}
    body = b"x" * 20_000
    assert post(client, body).status_code == 413
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post(client, b"y" * 1000).status_code == 413
    large = {"job": "tests.jobs.add", "args": ["z" * 200]}
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    response = post(client, large)
    assert (response.status_code, "MAX_PAYLOAD_BYTES" in response.json()["error"]) == (400, True)


def test_a_large_body_of_unknown_length_is_refused(rf: RequestFactory) -> None:
    request = rf.post("/", b"x" * 300_000, content_type="application/json")
    del request.META["CONTENT_LENGTH"]  # as with chunks
    request._body = b"x" * 300_000  # type: ignore[attr-defined]
    assert enqueue(request).status_code == 413


def test_a_full_queue_asks_to_come_later(client: Client, settings: Any) -> None:
    settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"QUEUES": {"default": {"MAX_PENDING": 1}}}
    assert post(client, {"job": "tests.jobs.add", "args": [1]}).status_code == 201
    response = post(client, {"job": "tests.jobs.add", "args": [2]})
    assert (response.status_code, response["Retry-After"]) == (503, "60")


def test_it_is_off_by_default(client: Client, settings: Any) -> None:
    settings.DJANGO_JOBS = {}
    assert post(client, {"job": "tests.jobs.add", "args": [1]}).status_code == 404


def test_it_takes_only_a_post(client: Client) -> None:
    response = client.get(reverse("django_jobs:enqueue"))
    assert (response.status_code, response["Allow"]) == (405, "POST")


def test_a_site_with_logins_lets_programs_in(client: Client, settings: Any) -> None:
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    assert post(client, {"job": "tests.jobs.add", "args": [1]}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_requests_at_the_same_time_make_one_job() -> None:
    at, body = str(int(time.time())), {"job": "tests.jobs.add", "args": [1]}
    answers: list[Any] = []
    ready = threading.Barrier(4)

    def send() -> None:
        try:
            ready.wait()
            answers.append(post(Client(), body, at=at))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.status_code for each in answers) == [200, 200, 200, 201]
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"SECRETS": [SECRET, "short-secret"], "JOBS": ["*"]}, "['SECRETS'][1] has 12 characters"),
        ({"SECRETS": [], "JOBS": ["*"]}, "must have SECRETS"),
        ({"SECRETS": SECRET, "JOBS": ["*"]}, "must have SECRETS"),
        ({"SECRETS": [SECRET]}, "must have JOBS"),
        ({"SECRETS": [SECRET], "JOBS": "shop.*"}, "must have JOBS"),
        ({"SECRETS": [SECRET], "JOBS": ["*"], "WINDOW": 3}, "unknown key 'WINDOW'"),
    ],
)
def test_the_setting_is_checked(settings: Any, given: Any, error: str) -> None:
    settings.DJANGO_JOBS = {"ENQUEUE_URL": given}
    (found,) = [each for each in run_checks(tags=["django_jobs"]) if each.id == "django_jobs.E027"]
    assert error in found.msg
    assert SECRET not in f"{found}"
    assert "short-secret" not in f"{found}"
