"""The pages as JSON and their actions: who may use them, what they answer, what is never shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import jsonschema
import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.http import QueryDict
from django.test import Client, RequestFactory
from django.test.utils import override_settings
from django.utils import timezone

from django_jobs import job
from django_jobs.admin.http_api.requests import JsonAction, Refused, fields_of
from django_jobs.control import tokens
from django_jobs.metrics import cache
from django_jobs.models import ApiToken, Attempt, Command, Job, Limit, Queue, Schedule, Step, Worker
from django_jobs.redaction import REDACTED
from django_jobs.status import Status
from docs import openapi, openapi_fields
from tests.admin.test_jobs import make, make_many

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered", "tokens_on")]

BASE = "/admin/django_jobs"
SECRET = "hunter2-top"
UUID_0 = "0" * 32
DESCRIBED = openapi.document()


@pytest.fixture
def tokens_on(settings: Any) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "API_TOKENS": True}
    cache.clear()


@pytest.fixture
def user_with(db: None) -> Callable[..., User]:
    from django.contrib.auth.models import Permission

    def made(*codenames: str, **fields: Any) -> User:
        user = User.objects.create_user(f"joe{User.objects.count()}", is_staff=True)
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    return made


def bearer(user: User, **given: Any) -> dict[str, str]:
    _row, token = tokens.make(user, "test", **given)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def root(db: None) -> dict[str, str]:
    return bearer(User.objects.create_superuser("root"))


def read(path: str, headers: dict[str, str] | None = None, **query: str) -> Any:
    return Client().get(f"{BASE}{path}", {"format": "json", **query}, headers=headers)


def act(path: str, headers: dict[str, str] | None = None, /, **body: Any) -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.post(f"{BASE}{path}", json.dumps(body), "application/json", headers=headers)


def check(schema: str, value: Any) -> None:
    """Hold *value* against a schema of the file."""
    described = {**openapi.ref(schema), "components": DESCRIBED["components"]}
    jsonschema.Draft202012Validator(
        described, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.once
def test_file_is_what_the_code_describes() -> None:
    assert openapi.FILE.read_text() == openapi.text(), "run python -m docs.openapi"


@pytest.mark.once
def test_page_of_the_documentation_names_every_address() -> None:
    text = (openapi.FILE.parent / "http_api.rst").read_text()
    assert [address for address in DESCRIBED["paths"] if f"``{address[1:]}" not in text] == []


def test_file_names_the_filters_of_the_lists(boss: Client, rf: RequestFactory) -> None:
    request = rf.get("/", {"status": "FAILURE", "ended": "1-2", "schedule": "1", "worker": UUID_0,
                          "error": "E"})  # fmt: skip
    request.user = User.objects.get()
    filters = {address.strip("/"): set(each) for address, _text, _schema, each in openapi.PAGES}
    for model in (Job, Worker, Schedule):
        if model is not Job:
            request.GET = QueryDict()  # type: ignore[assignment]
        found = admin.site.get_model_admin(model).get_changelist_instance(request)
        names = {name for spec in found.filter_specs for name in spec.expected_parameters()}
        names = {name for name in names if name and not name.endswith("__isnull")}
        assert filters[model._meta.model_name or ""] == names | {"q", "p"}


@pytest.mark.once
def test_file_bounds_only_fields_that_actions_have() -> None:
    actions = [each for mixin in openapi._actions().values() for each in mixin.values()]
    assert {name for one in actions for name in one.fields} >= openapi_fields._bounds().keys()
    move = DESCRIBED["paths"]["/job/api/move"]["post"]["requestBody"]["content"]
    schema = jsonschema.Draft202012Validator(move["application/json"]["schema"])
    body = {"ids": [UUID_0], "queue": "mail"}
    wrong = [{"queue": "@x"}, {"queue": ""}, {"priority": 2**15}, {"ids": []}, {"ids": [1]}]
    good = [{}, {"priority": -32767}, {"queue": "邮件"}]
    assert [schema.is_valid(body | each) for each in good] == [True] * len(good)
    assert not any(schema.is_valid(body | each) for each in wrong)
    assert not schema.is_valid({"ids": [UUID_0]})


def test_every_page_answers_as_the_file_says(
    root: dict[str, str], user_with: Any, new_worker: Any
) -> None:
    failed = make(Status.FAILURE, error_class="builtins.ValueError", error_message="no luck")
    Attempt.objects.create(
        job_id=failed.pk, attempt=1, claims=1, status="FAILURE", ended_at=timezone.now(),
        error_class="builtins.ValueError", error_message="no luck", traceback="…",
    )  # fmt: skip
    child = make(Status.WAITING, root_id=failed.pk, parent_id=failed.pk)
    busy = new_worker()
    make(Status.STARTED, worker_id=busy.pk)
    Command.objects.create(worker_id=busy.pk, name="ping", created_at=timezone.now())
    schedule = Schedule.objects.create(
        name="hourly", job_name="tests.jobs.add", kind="interval", interval_seconds=3600, args=[1]
    )
    Queue.objects.create(name="mail", concurrency=3)
    Limit.objects.create(key="f:tests.jobs.add", concurrency=2)
    keys = {
        "/job/{id}/change/": child.pk, "/function/{name}/": "tests.jobs.add",
        "/queue/{name}/change/": "mail", "/worker/{id}/change/": busy.pk,
        "/schedule/{id}/change/": schedule.pk,
    }  # fmt: skip
    for address, _summary, schema, _filters in openapi.PAGES:
        head, brace, _rest = address.partition("{")
        path = f"{head}{keys[address]}{address.partition('}')[2]}" if brace else address
        response = read(path, root)
        assert response.status_code == 200, (path, response.content)
        check(schema, response.json())
    assert read("/job/", root, status="FAILURE").json()["jobs"][0]["id"] == str(failed.pk)
    shown = read(f"/job/{failed.pk}/change/", root).json()
    assert shown["attempts"][0]["error_message"] == "no luck"
    assert shown["workflow"]["total"] == 2
    check("Dashboard", read("/dashboard/", bearer(user_with("view_dashboard"))).json())


def test_worker_has_its_past_hour(root: dict[str, str], new_worker: Any) -> None:
    worker = new_worker(samples=[[10, 4], None, [40, 1.5], "x"])
    past = [{"memory_bytes": 10 << 20, "busy": 4}, None, {"memory_bytes": 40 << 20, "busy": 1.5},
            None]  # fmt: skip
    assert read(f"/worker/{worker.pk}/change/", root).json()["samples"] == past
    listed = read("/worker/", root).json()
    check("Workers", listed)
    assert listed["workers"][0]["samples"] == past


def test_every_action_answers_as_the_file_says(root: dict[str, str], new_worker: Any) -> None:
    running = new_worker()
    Schedule.objects.create(
        name="hourly", job_name="tests.jobs.add", kind="interval", interval_seconds=3600, args=[1]
    )
    several = {status: str(make(status).pk) for status in Status}
    bodies: dict[str, dict[str, Any]] = {
        "job/retry": {"ids": [several["FAILURE"]]},
        "job/revoke": {"ids": [several["PENDING"]]},
        "job/run-now": {"ids": [several["SCHEDULED"]]},
        "job/move": {"ids": [several["SCHEDULED"]], "queue": "other"},
        "job/copy": {"ids": [several["SUCCESS"]]},
        "job/send-event": {"ids": [several["WAITING"]], "event": "paid"},
        "job/delete": {"ids": [several["SUCCESS"]]},
        "function/enqueue": {"job": "tests.jobs.add", "args": [1], "priority": 3},
        "function/limit": {"job": "tests.jobs.add", "rate_limit": "10/m"},
        "queue/pause": {"queues": ["mail"]},
        "queue/resume": {"queues": ["mail"]},
        "queue/clear": {"queue": "mail"},
        "queue/limit": {"queue": "mail", "concurrency": 3, "rate_limit": None},
    }
    arguments = {
        "add-queue": {"queue": "mail"}, "remove-queue": {"queue": "mail"},
        "time-limit": {"job": "tests.jobs.add", "hard": 5},
        "autoscale": {"most": 3, "least": 1}, "shutdown": {"cold": True},
    }  # fmt: skip
    seen = set()
    for address, described in DESCRIBED["paths"].items():
        if "post" not in described:
            continue
        model, _api, name = address[1:].split("/")
        body = bodies.get(f"{model}/{name}")
        if model == "worker":
            body = {"workers": [running.name], **arguments.get(name, {})}
        elif model == "schedule":
            body = {"schedules": ["hourly"]}
        response = act(address, root, **(body or {}))
        assert response.status_code == 200, (address, response.content)
        schema = described["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        check(schema["$ref"].rpartition("/")[2], response.json())
        content = described["post"]["requestBody"]["content"]["application/json"]
        jsonschema.Draft202012Validator(content["schema"]).validate(body)
        seen.add(f"{model}/{name}")
    assert seen >= bodies.keys()
    assert Job.objects.get(pk=several["FAILURE"]).status == Status.PENDING
    assert Job.objects.get(pk=several["PENDING"]).status == Status.REVOKED
    assert not Job.objects.filter(pk=several["SUCCESS"]).exists()
    assert Limit.objects.get().rate_limit == "10/m"
    assert Queue.objects.get(name="mail").concurrency == 3
    assert Command.objects.filter(name="shutdown", arguments={"cold": True}).exists()
    assert LogEntry.objects.filter(user__username="root").count() >= 20
    assert set(LogEntry.objects.values_list("change_message", flat=True)) >= {
        "Retried.", "Revoked.", "Paused.", "Enqueued.", "Sent shutdown: {'cold': True}.",
        "Limited: {'rate_limit': '10/m'}.",
    }  # fmt: skip


# --- who may ------------------------------------------------------------------------------------


def test_session_reads_but_does_not_act(client_of: Callable[..., Client]) -> None:
    client = client_of("view_job")
    row = make(Status.FAILURE)
    assert client.get(f"{BASE}/job/?format=json").json()["jobs"][0]["id"] == str(row.pk)
    assert client.get(f"{BASE}/queue/?format=json").status_code == 403
    body = json.dumps({"ids": [str(row.pk)]})
    answer = client.post(f"{BASE}/job/api/retry", body, "application/json")
    assert (answer.status_code, "Bearer" in answer["WWW-Authenticate"]) == (401, True)
    assert Job.objects.get().status == Status.FAILURE


def test_pages_keep_their_protection_against_forged_requests() -> None:
    user = User.objects.create_superuser("root")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    row = make(Status.FAILURE)
    data = {"action": "retry", "_selected_action": str(row.pk)}
    for header in ({}, bearer(user)):
        assert client.post(f"{BASE}/job/", data, headers=header).status_code == 403
    assert Job.objects.get().status == Status.FAILURE


def test_nobody_reads_without_a_session_or_a_token() -> None:
    for path in ("/dashboard/", "/job/", "/function/", "/queue/", "/worker/", "/schedule/"):
        response = read(path)
        assert response.status_code == 401
        check("Error", response.json())
        assert read(path, {"Authorization": "Bearer nonsense"}).status_code == 401
        assert read(path, {"Authorization": "Basic cm9vdDpyb290"}).status_code == 401


def test_token_passes_the_middleware_that_asks_for_a_login(
    root: dict[str, str], settings: Any
) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
    assert read("/job/", root).status_code == 200
    row = make(Status.FAILURE)
    assert act("/job/api/retry", root, ids=[str(row.pk)]).json()["changed"] == 1


def test_token_of_another_scheme_is_refused(user_with: Any) -> None:
    headers = bearer(user_with("view_job"))
    assert read("/job/", headers).status_code == 200
    basic = {"Authorization": headers["Authorization"].replace("Bearer", "Basic")}
    assert read("/job/", basic).status_code == 401


def test_wrong_token_is_not_replaced_by_the_session(boss: Client) -> None:
    response = boss.get(f"{BASE}/job/?format=json", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401


def test_token_is_off_by_default(root: dict[str, str], settings: Any) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "API_TOKENS": False}
    assert "API_TOKENS" in read("/job/", root).json()["error"]
    assert act("/job/api/retry", root, ids=[]).status_code == 404


def test_token_ends_with_its_user_its_time_and_its_row(user_with: Any) -> None:
    user = user_with("view_job")
    assert read("/job/", bearer(user)).status_code == 200
    assert read("/job/", bearer(user, seconds=-1)).status_code == 401
    good = bearer(user)
    user.is_active = False
    user.save()
    assert read("/job/", good).status_code == 401
    user.is_active, user.is_staff = True, False
    user.save()
    assert read("/job/", good).status_code == 403
    ApiToken.objects.all().delete()
    assert read("/job/", good).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "permission"),
    [
        ("/job/api/retry", {"ids": ["ID"]}, "retry_job"),
        ("/job/api/delete", {"ids": ["ID"]}, "delete_job"),
        ("/function/api/enqueue", {"job": "tests.jobs.add", "args": [1]}, "enqueue_job"),
        ("/function/api/limit", {"job": "tests.jobs.add", "concurrency": 1}, "change_limit"),
        ("/queue/api/pause", {"queues": ["mail"]}, "pause_queue"),
        ("/queue/api/clear", {"queue": "mail"}, "delete_job"),
        ("/worker/api/ping", {"workers": ["w"]}, "control_worker"),
        ("/schedule/api/run-now", {"schedules": ["s"]}, "run_schedule"),
    ],
)
def test_action_needs_its_permission_and_that_to_see_the_page(
    path: str, body: dict[str, Any], permission: str, user_with: Any
) -> None:
    row = make(Status.FAILURE)
    body = {key: [str(row.pk)] if value == ["ID"] else value for key, value in body.items()}
    view = f"view_{path.split('/')[1]}"
    assert act(path, bearer(user_with(permission)), **body).status_code == 403
    assert act(path, bearer(user_with(view)), **body).status_code == 403
    assert act(path, bearer(user_with(view, permission)), **body).status_code != 403
    narrow = bearer(user_with(view, permission), permissions=[f"django_jobs.{view}"])
    assert act(path, narrow, **body).status_code == 403
    assert read(f"/{path.split('/')[1]}/", narrow).status_code == 200


def test_limit_of_a_queue_needs_the_permission_to_change_it(user_with: Any) -> None:
    body = {"queue": "mail", "concurrency": 1}
    viewer = bearer(user_with("view_queue", "pause_queue", "change_limit"))
    assert act("/queue/api/limit", viewer, **body).status_code == 403
    assert act("/queue/api/limit", bearer(user_with("change_queue")), **body).status_code == 200


def test_page_needs_the_permission_to_see_it(user_with: Any, worker: Any) -> None:
    row = make(Status.SUCCESS)
    schedule = Schedule.objects.create(
        name="hourly", job_name="tests.jobs.add", kind="interval", interval_seconds=60, args=[1]
    )
    Queue.objects.create(name="mail")
    nobody = bearer(user_with())
    keys = {
        "job": row.pk, "function": "tests.jobs.add", "queue": "mail", "worker": worker.pk,
        "schedule": schedule.pk,
    }  # fmt: skip
    for model, key in keys.items():
        page = f"/{model}/{key}/" if model == "function" else f"/{model}/{key}/change/"
        assert read(f"/{model}/", nobody).status_code == 403
        assert read(page, nobody).status_code == 403
        viewer = bearer(user_with(f"view_{model}"))
        assert read(f"/{model}/", viewer).status_code == 200
        assert read(page, viewer).status_code == 200
    assert read("/dashboard/", nobody).status_code == 403


def test_parts_of_other_pages_need_their_permissions(user_with: Any, worker: Any) -> None:
    make(Status.STARTED, worker_id=worker.pk)
    parts = {"queues": "queue", "failures": "job", "workers": "worker", "schedules": "schedule"}
    shown = read("/dashboard/", bearer(user_with("view_dashboard"))).json()
    assert [shown[part] for part in parts] == [None] * 4
    for part, model in parts.items():
        viewer = bearer(user_with("view_dashboard", f"view_{model}"))
        shown = read("/dashboard/", viewer).json()
        assert [each for each in parts if shown[each] is not None] == [part]
    page = f"/worker/{worker.pk}/change/"
    assert read(page, bearer(user_with("view_worker"))).json()["running"] is None
    assert len(read(page, bearer(user_with("view_worker", "view_job"))).json()["running"]) == 1


def test_token_keeps_no_permission_that_its_user_has_lost(user_with: Any) -> None:
    user = user_with("view_job")
    narrow = bearer(user, permissions=["django_jobs.view_job"])
    assert read("/job/", narrow).status_code == 200
    user.user_permissions.clear()
    assert read("/job/", narrow).status_code == 403


# --- what is refused and what is hidden ---------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/job/api/retri", {}, 404, "retry"),
        ("/job/api/retry", {}, 400, "ids is missing"),
        ("/job/api/retry", {"ids": ["x"]}, 400, "UUID"),
        ("/job/api/retry", {"ids": []}, 400, "1 to 10,000"),
        ("/job/api/retry", {"ids": [1]}, 400, "texts"),
        ("/job/api/retry", {"id": "x"}, 400, "Unknown field 'id'"),
        ("/job/api/move", {"ids": [UUID_0]}, 400, "queue, priority"),
        ("/job/api/move", {"ids": [UUID_0], "priority": True}, 400, "a whole number"),
        ("/job/api/move", {"ids": [UUID_0], "queue": "@x"}, 400, "@x"),
        ("/function/api/enqueue", {"job": "tests.jobs.ad"}, 404, "tests.jobs.add"),
        ("/function/api/enqueue", {"job": "tests.jobs.add"}, 400, "a"),
        ("/function/api/limit", {"job": "tests.jobs.add", "rate_limit": "x"}, 400, "x"),
        ("/queue/api/pause", {"queues": ["@x"]}, 400, "@x"),
        ("/worker/api/shutdown", {"workers": ["nobody"]}, 404, "live worker"),
        ("/schedule/api/run-now", {"schedules": ["none"]}, 404, "no schedule"),
        ("/schedule/api/run-now", {"schedules": ["a\0"]}, 400, "must not have NUL"),
        ("/schedule/api/run-now", {"schedules": ["\ud800"]}, 400, "half of a surrogate pair"),
        ("/function/api/limit", {"job": "tests.jobs.add", "concurrency": 2**31}, 400, "at most"),
        ("/queue/api/limit", {"queue": "mail", "concurrency": 10**30}, 400, "at most"),
    ],
)
def test_wrong_request_is_told_what_to_do(
    path: str, body: dict[str, Any], status: int, error: str, root: dict[str, str]
) -> None:
    response = act(path, root, **body)
    assert (response.status_code, error in response.json()["error"]) == (status, True)
    check("Error", response.json())


def test_body_and_filters_are_checked(root: dict[str, str]) -> None:
    send = Client().post
    for body in ("{", "[]", "[" * 10_000):
        response = send(f"{BASE}/job/api/retry", body, "application/json", headers=root)
        assert response.status_code == 400
    response = send(f"{BASE}/job/api/retry", "x" * 2_000_000, "text/plain", headers=root)
    assert response.status_code == 413
    assert read("/job/", root, args__regex="hunter").status_code == 400
    assert read("/dashboard/", root, window="2h").status_code == 400
    assert read(f"/job/{UUID_0}/change/", root).status_code == 404
    refused = Client().delete(f"{BASE}/job/?format=json", headers=root)
    assert (refused.status_code, refused["Allow"]) == (405, "GET, HEAD")
    refused = Client().get(f"{BASE}/job/api/retry", headers=root)
    assert (refused.status_code, refused["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "name", "value", "allowed"),
    [
        ("/job/", "age", "fortnight", "hour, day"),
        ("/job/", "status", "FAILED", "FAILURE"),
        ("/job/", "attempts", "2", "more"),
        ("/job/", "from", "yesterday", "2026-01-31"),
        ("/job/", "to", "1368-05-19", "after 1970"),
        ("/job/", "p", "x", "number"),
        ("/job/", "p", "-1", "number"),
        ("/worker/", "state", "dead", "live, lost"),
    ],
)
def test_filter_that_a_page_would_ignore_is_refused(
    path: str, name: str, value: str, allowed: str, root: dict[str, str]
) -> None:
    answer = read(path, root, **{name: value})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name} must be ")
    assert allowed in answer.json()["error"]


def test_page_that_a_list_lacks_is_refused(root: dict[str, str]) -> None:
    make(Status.SUCCESS)
    refused = [read("/job/", root, p=page) for page in ("0", "2")]
    make_many(100)
    refused += [read("/job/", root, p=page) for page in ("0", "3")]
    assert [each.status_code for each in refused] == [404] * 4
    assert all("1 to the number of pages" in each.json()["error"] for each in refused)
    assert len(read("/job/", root, p="2").json()["jobs"]) == 1


def test_full_queue_says_when_to_come_again(root: dict[str, str], settings: Any) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "QUEUES": {"mail": {"MAX_PENDING": 1}}}
    body = {"job": "tests.jobs.add", "args": [1], "queue": "mail"}
    answers = [act("/function/api/enqueue", root, **body) for _ in range(2)]
    assert [(each.status_code, each.get("Retry-After")) for each in answers] == [
        (200, None), (503, "60")
    ]  # fmt: skip


def test_number_of_a_body_may_have_a_decimal_point(root: dict[str, str]) -> None:
    path, body = "/function/api/enqueue", {"job": "tests.jobs.add", "args": [1.0]}
    made = act(path, root, **body, priority=3.0)
    row = Job.objects.get(pk=made.json()["id"])
    assert (row.priority, row.args) == (3, [1.0])
    assert act(path, root, **body, priority=3.5).status_code == 400


def test_a_large_body_of_unknown_length_is_refused(rf: RequestFactory) -> None:
    request = rf.post("/")
    del request.META["CONTENT_LENGTH"]  # as with chunks
    request._body = b"x" * 2_000_000  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="must have at most"):
        fields_of(request, JsonAction("", print, {}))


def test_body_over_the_limit_of_django_is_refused(root: dict[str, str], settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert act("/job/api/retry", root, ids=[UUID_0]).status_code == 413


def test_secrets_are_shown_nowhere(root: dict[str, str]) -> None:
    @job(name="spell", sensitive=("word",))
    def spell(word: str) -> None: ...

    refused = act("/function/api/enqueue", root, job="spell", args=[SECRET, SECRET])
    assert SECRET not in refused.content.decode()
    made = act("/function/api/enqueue", root, job="spell", args=[SECRET])
    path = f"/job/{made.json()['id']}/change/"
    Schedule.objects.create(
        name="hourly", job_name="spell", kind="interval", interval_seconds=60, args=[SECRET],
        last_error=f"about {SECRET}",
    )  # fmt: skip
    number = Schedule.objects.get().pk
    for shown in (path, "/job/", "/schedule/", f"/schedule/{number}/change/"):
        text = read(shown, root).content.decode()
        assert SECRET not in text
    assert REDACTED in read(path, root).content.decode()
    assert not LogEntry.objects.filter(change_message__contains=SECRET).exists()


def test_key_of_a_limit_is_not_logged(root: dict[str, str]) -> None:
    answer = act(
        "/function/api/limit", root, job="tests.jobs.one_a_tenant", concurrency=2, key=SECRET
    )
    assert (answer.status_code, SECRET in answer.content.decode()) == (200, False)
    assert LogEntry.objects.get().change_message == "Limited: {'concurrency': 2}."


def test_error_of_a_schedule_s_job_hides_its_secrets(root: dict[str, str]) -> None:
    def key_of(word: str) -> str:
        raise ValueError(f"bad {word}")

    @job(name="spell", sensitive=("word",), unique=True, unique_key=key_of)
    def spell(word: str) -> None: ...

    Schedule.objects.create(
        name="hourly", job_name="spell", kind="interval", interval_seconds=60, args=[SECRET]
    )
    refused = act("/schedule/api/run-now", root, schedules=["hourly"])
    assert refused.status_code == 409
    assert "ValueError" in refused.json()["error"]
    assert SECRET not in refused.content.decode()
    assert not LogEntry.objects.exists()


def test_terminate_stops_running_jobs(root: dict[str, str], worker: Any) -> None:
    row = make(Status.STARTED, worker_id=worker.pk)
    assert act("/job/api/revoke", root, ids=[str(row.pk)]).json()["changed"] == 0
    body = {"ids": [str(row.pk)], "terminate": True}
    assert act("/job/api/revoke", root, **body).json()["changed"] == 1


def test_id_that_is_given_twice_counts_once(root: dict[str, str]) -> None:
    row = str(make(Status.FAILURE).pk)
    answer = act("/job/api/retry", root, ids=[row, row])
    assert answer.json() == {"changed": 1, "skipped": {}, "job": None}


def test_empty_step_begins_the_job_again(root: dict[str, str]) -> None:
    row = make(Status.FAILURE)
    Step.objects.create(job_id=row.pk, key="pay", position=0, kind="step", state="DONE", claims=1)
    assert act("/job/api/retry", root, ids=[str(row.pk)]).json()["changed"] == 1
    assert Step.objects.exists()
    Job.objects.update(status=Status.FAILURE)
    body = {"ids": [str(row.pk)], "from_step": ""}
    assert act("/job/api/retry", root, **body).json()["changed"] == 1
    assert not Step.objects.exists()


def test_queue_with_escaped_letters_has_its_page(root: dict[str, str]) -> None:
    Queue.objects.create(name="a_b")
    assert read(f"/queue/{quote('a_b')}/change/", root).json()["name"] == "a_b"


def test_commands_are_not_sent_to_workers_that_have_stopped(
    root: dict[str, str], new_worker: Any
) -> None:
    live, gone = new_worker(name="live"), new_worker(name="gone", stopped_at=timezone.now())
    answer = act("/worker/api/ping", root, workers=["live", "gone"]).json()
    assert ([each["worker_id"] for each in answer["sent"]], answer["unknown"]) == (
        [str(live.pk)], ["gone"]
    )  # fmt: skip
    assert not Command.objects.filter(worker_id=gone.pk).exists()


def test_answer_is_in_english_and_is_not_cached(root: dict[str, str]) -> None:
    row = make(Status.SUCCESS)
    with override_settings(LANGUAGE_CODE="zh-hans"):
        response = act("/job/api/revoke", root, ids=[str(row.pk), UUID_0])
    assert response.json() == {
        "changed": 0, "skipped": {"is success": 1, "unknown": 1}, "job": None
    }  # fmt: skip
    assert "no-store" in response["Cache-Control"]
    assert "Authorization" in response["Vary"]


# --- the command --------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("jobs", "token", *arguments, stdout=out)
    return out.getvalue()


def test_command_makes_lists_and_revokes_a_token(user_with: Any) -> None:
    user = user_with("view_job", "retry_job")
    token = run("make", user.username, "grafana", "--permission", "django_jobs.view_job").strip()
    row = ApiToken.objects.get()
    assert token.startswith(tokens.PREFIX)
    assert token not in str(vars(row))
    assert read("/job/", {"Authorization": f"Bearer {token}"}).status_code == 200
    listed = run("list")
    assert "grafana" in listed
    assert "django_jobs.view_job" in listed
    assert "revoked" in run("revoke", str(row.pk))
    assert read("/job/", {"Authorization": f"Bearer {token}"}).status_code == 401
    assert json.loads(run("list", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["make", "joee0", "x"], "Did you mean 'joe0'"),
        (["make", "joe0", "x" * 101], "1 to 100"),
        (["make", "joe0", "x", "--permission", "django_jobs.vew_job"], "'django_jobs.view_job'"),
        (["make", "guest", "x"], "is_staff"),
        (["revoke", "99"], "jobs token list"),
    ],
)
def test_command_says_what_is_wrong(arguments: list[str], error: str, user_with: Any) -> None:
    user_with("view_job")
    User.objects.create_user("guest")
    with pytest.raises(CommandError, match=error.replace("(", r"\(")):
        run(*arguments)


def test_own_admin_class_refuses_a_command(
    root: dict[str, str], worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        admin.site.get_model_admin(Worker), "has_operation_permission",
        lambda request, operation: operation.name != "shut_down",
    )  # fmt: skip
    assert act("/worker/api/shutdown", root, workers=[worker.name]).status_code == 403
    assert act("/worker/api/quiet", root, workers=[worker.name]).status_code == 200
