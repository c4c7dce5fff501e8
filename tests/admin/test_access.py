"""Permissions of the admin's pages and actions; the pages obey a strict content security policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobs import admin as jobs_admin
from django_jobs.metrics import cache
from django_jobs.models import Attempt, Command, Edge, Job, Queue, Schedule, Worker
from django_jobs.status import Status
from django_jobs.workflows.upstream import UPSTREAM_FAILED, upstream_message
from tests.admin.test_jobs import make, messages_of, post

pytestmark = pytest.mark.django_db

ROOT = "/admin/django_jobs/"
WHO = ("anonymous", "staff", "viewer", "operator", "superuser")
VIEWS = [f"view_{name}" for name in ("dashboard", "function", "job", "queue", "schedule", "worker")]
#: What an operator has beside the views.
OPERATES = [
    "retry_job", "revoke_job", "run_job", "enqueue_job", "move_job", "delete_job", "add_queue",
    "change_queue", "delete_queue", "pause_queue", "control_worker", "add_schedule",
    "change_schedule", "delete_schedule", "run_schedule",
]  # fmt: skip
#: Each page, and the permission that it needs.
PAGES = {
    "dashboard/": "view_dashboard", "dashboard/?window=24h": "view_dashboard",
    "dashboard/?window=7d": "view_dashboard", "function/": "view_function",
    "function/tests.jobs.add/": "view_function", "job/": "view_job",
    "job/?status=FAILURE&q=add": "view_job", "job/{job}/change/": "view_job",
    "job/{job}/history/": "view_job", "queue/": "view_queue",
    "queue/add/": "add_queue", "queue/mail/change/": "view_queue",
    "queue/mail/history/": "view_queue", "queue/mail/page/": "view_queue",
    "queue/mail/delete/": "delete_queue",
    "schedule/": "view_schedule", "schedule/add/": "add_schedule",
    "schedule/busy-hours/": "view_schedule",
    "schedule/{schedule}/change/": "view_schedule",
    "schedule/{schedule}/history/": "view_schedule",
    "schedule/{schedule}/delete/": "delete_schedule", "worker/": "view_worker",
    "worker/{worker}/change/": "view_worker", "worker/{worker}/history/": "view_worker",
}  # fmt: skip
#: Each action: the page it is sent to, what is sent, the permission, and the page it asks with.
ACTIONS: dict[str, tuple[str, dict[str, str], str]] = {
    "retry": ("job/", {"_selected_action": "{failed}"}, "retry_job"),
    "run_now": ("job/", {"_selected_action": "{scheduled}"}, "run_job"),
    "move": ("job/", {"_selected_action": "{pending}", "move-queue": "slow"}, "move_job"),
    "revoke": ("job/", {"_selected_action": "{pending}"}, "revoke_job"),
    "terminate": ("job/", {"_selected_action": "{running}"}, "revoke_job"),
    "copy": ("job/", {"_selected_action": "{job}"}, "enqueue_job"),
    "delete_selected": ("job/", {"_selected_action": "{failed}"}, "delete_job"),
    "quiet": ("worker/", {"_selected_action": "{worker}"}, "control_worker"),
    "resume": ("worker/", {"_selected_action": "{worker}"}, "control_worker"),
    "grow": ("worker/", {"_selected_action": "{worker}"}, "control_worker"),
    "shrink": ("worker/", {"_selected_action": "{worker}"}, "control_worker"),
    "shut_down": ("worker/", {"_selected_action": "{worker}"}, "control_worker"),
    "pause a queue": ("queue/", {"pause": "other"}, "pause_queue"),
    "resume a queue": ("queue/", {"resume": "mail"}, "pause_queue"),
    "clear a queue": ("queue/", {"clear": "default"}, "delete_job"),
    "limit a queue": ("queue/mail/change/", {"concurrency": "3"}, "change_queue"),
    "enqueue": (
        "function/tests.jobs.add/", {"argument_a": "1", "argument_b": "2"}, "enqueue_job"
    ),
    "disable_schedules": ("schedule/", {"_selected_action": "{schedule}"}, "change_schedule"),
    "skip_next": ("schedule/", {"_selected_action": "{schedule}"}, "change_schedule"),
    "run_now of a schedule": (
        "schedule/", {"_selected_action": "{schedule}", "action": "run_now"}, "run_schedule"
    ),
}  # fmt: skip


@pytest.fixture
def rows(new_worker: Any) -> dict[str, str]:
    """A row of each kind, by the names that pages and actions use."""
    job = make(Status.FAILURE, args=[1], progress={"done": 1, "total": 2})
    Attempt.objects.create(
        job=job, attempt=1, status="FAILURE", ended_at=timezone.now(),
        traceback='Traceback\n  File "/x/site-packages/y.py", line 1, in z\nKeyError: 1',
    )  # fmt: skip
    worker = new_worker()
    schedule = Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", args=[1, 2], kind="interval",
        interval_seconds=60,
    )  # fmt: skip
    Schedule.objects.update(next_run_at=timezone.now())
    Queue.objects.create(name="mail", paused_at=timezone.now(), paused_by="bob")
    made = {
        "job": job, "worker": worker, "schedule": schedule, "failed": make(Status.FAILURE),
        "scheduled": make(Status.SCHEDULED), "pending": make(Status.PENDING),
        "running": make(Status.STARTED, worker_id=worker.pk),
    }  # fmt: skip
    return {name: str(row.pk) for name, row in made.items()}


@pytest.fixture
def become(client: Client, client_of: Callable[..., Client]) -> Callable[[str], Client]:
    def become(who: str) -> Client:
        if who == "anonymous":
            return client
        given = {"viewer": VIEWS, "operator": [*VIEWS, *OPERATES]}.get(who, [])
        return client_of(*given, is_superuser=who == "superuser")

    return become


def state() -> Any:
    """Everything that an action may change."""
    cache.clear()
    return (
        sorted(Job.objects.values_list("pk", "status", "queue")),
        sorted(Command.objects.values_list("name", flat=True)),
        sorted(Queue.objects.values_list("name", "paused_by", "concurrency")),
        sorted(Schedule.objects.values_list("pk", "enabled", "next_run_at")),
    )


def act(client: Client, action: str, rows: dict[str, str]) -> Any:
    page, data, _permission = ACTIONS[action]
    filled = {key: value.format(**rows) for key, value in data.items()}
    sent = {"action": action, "index": "0", "confirmed": "1", **filled}
    return client.post(ROOT + page, sent)


@pytest.mark.parametrize("who", WHO)
def test_pages(become: Any, rows: dict[str, str], who: str) -> None:
    client = become(who)
    given = {"viewer": VIEWS, "operator": [*VIEWS, *OPERATES]}.get(who, [])
    for page, permission in PAGES.items():
        response = client.get(ROOT + page.format(**rows))
        if who == "anonymous":
            assert response["Location"].startswith("/admin/login/"), page
        else:
            allowed = who == "superuser" or permission in given
            assert response.status_code == (200 if allowed else 403), page


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("action", ACTIONS)
def test_actions(become: Any, rows: dict[str, str], who: str, action: str) -> None:
    client = become(who)
    before = state()
    act(client, action, rows)
    allowed = who in ("operator", "superuser")
    assert (state() != before) == allowed
    assert LogEntry.objects.exists() == allowed


@pytest.mark.parametrize("action", ACTIONS)
def test_action_needs_its_own_permission_and_no_other(
    client_of: Callable[..., Client], rows: dict[str, str], action: str
) -> None:
    own = ACTIONS[action][2]
    client = client_of(*VIEWS, *(name for name in OPERATES if name != own))
    before = state()
    act(client, action, rows)
    assert state() == before
    user = User.objects.get()
    user.user_permissions.set(Permission.objects.filter(codename__in=[*VIEWS, own]))
    act(client, action, rows)
    assert state() != before


def test_actions_are_refused_without_the_token(rows: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = state()
    for action in ACTIONS:
        assert act(client, action, rows).status_code == 403
    assert state() == before


def test_get_requests_perform_no_action(boss: Client, rows: dict[str, str]) -> None:
    before = state()
    for page, data, _permission in ACTIONS.values():
        filled = {key: value.format(**rows) for key, value in data.items()}
        boss.get(ROOT + page, {**filled, "confirmed": "1", "index": "0"})
    assert state() == before


# --- a strict content security policy -------------------------------------------------------------


class Inline(HTMLParser):
    """Collects what a strict policy forbids: inline scripts and styles, scripts of other sites."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "style" or (tag == "script" and "src" not in given):
            self.found.append(tag)
        self.found += [f"{tag} {name}" for name in given if name == "style" or name[:2] == "on"]
        urls = [given.get(name, "") for name in ("src", "href", "action", "formaction")]
        self.found += [url for url in urls if re.match(r"(javascript:|data:|https?:|//)", url)]


def inline_of(response: Any) -> list[str]:
    parser = Inline()
    parser.feed(response.content.decode())
    return parser.found


def test_pages_have_nothing_inline(boss: Client, rows: dict[str, str]) -> None:
    looked_at = 0
    for page in PAGES:
        url = ROOT + page.format(**rows)
        for headers in ({}, {"X-Jobs-Refresh": "1"}):
            response = boss.get(url, headers=headers)
            assert inline_of(response) == [], url
            looked_at += 1
    for action, (page, data, _permission) in ACTIONS.items():
        # Confirmation pages, and forms with errors.
        filled = {key: value.format(**rows) for key, value in data.items() if key != "post"}
        response = boss.post(ROOT + page, {"action": action, "index": "0", **filled}, follow=True)
        assert inline_of(response) == [], action
        looked_at += 1
    assert looked_at == 2 * len(PAGES) + len(ACTIONS)


def test_the_test_sees_what_is_inline() -> None:
    parser = Inline()
    parser.feed(
        "<p style='a'><a href='javascript:x'><b onclick=y><script>z</script><style>s</style>"
        "<script src='//cdn.example/x.js'></script><script src='/static/ok.js'></script>"
    )
    assert parser.found == [
        "p style", "javascript:x", "b onclick", "script", "style", "//cdn.example/x.js",
    ]  # fmt: skip


# --- accessibility, other bases -------------------------------------------------------------------


def test_tables_have_captions_or_headings_and_scopes(boss: Client, rows: dict[str, str]) -> None:
    for page in PAGES:
        html = boss.get(ROOT + page.format(**rows)).content.decode()
        for table in re.findall(r"<table[^>]*>.*?</table>", html, re.DOTALL):
            # Django renders the lists and histories of its own.
            if "<caption" in table:
                assert not re.search(r"<th(?![^>]*scope=)[ >]", table), page
        for svg in re.findall(r"<svg[^>]*>", html):
            # A chart whose bars are links is a group, with a name.
            is_group = re.search(r'role="group" aria-label="[^"]+"', svg)
            shown = is_group or 'role="img"' in svg or 'aria-hidden="true"' in svg
            assert shown or "base-svgs" in svg or "theme-icon" in svg or "icon-auto" in svg, svg


@pytest.mark.parametrize(
    "name", [name for name in jobs_admin.__all__ if name.endswith("AdminMixin")]
)
def test_mixin_works_on_another_base_class(
    rf: Any, rows: dict[str, str], name: str, boss: Client
) -> None:
    class Base(admin.ModelAdmin):  # type: ignore[type-arg]
        list_per_page = 7

    site = admin.AdminSite("other")
    model = next(
        model
        for model, registered in admin.site._registry.items()
        if isinstance(registered, getattr(jobs_admin, name))
    )
    made = type("Made", (getattr(jobs_admin, name), Base), {})(model, site)
    assert made.list_per_page in (7, 25)
    assert made.check() == []
    request = rf.get("/")
    request.user = User.objects.get()
    request.session = {}
    patterns = [str(pattern.pattern) for pattern in made.get_urls()]
    assert "" in patterns


def test_every_model_of_the_sidebar_can_be_seen(boss: Client) -> None:
    html = boss.get(reverse("admin:index")).content.decode()
    for name in ("dashboard", "function", "job", "queue", "schedule", "worker"):
        assert f'href="{ROOT}{name}/"' in html


def test_own_admin_class_refuses_an_operation(
    rf: Any, rows: dict[str, str], boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_admin: Any = admin.site.get_model_admin(Job)
    page = f"{ROOT}job/{rows['failed']}/change/"
    assert 'value="retry"' in boss.get(page).content.decode()
    monkeypatch.setattr(
        job_admin,
        "has_operation_permission",
        lambda request, operation: operation.name != "retry",
        raising=True,
    )
    html = boss.get(page).content.decode()
    assert 'value="retry"' not in html
    assert 'value="copy"' in html
    before = state()
    act(boss, "retry", rows)
    assert state() == before


@pytest.mark.parametrize(("name", "row"), [("edit", "pending"), ("stack", "running")])
def test_own_admin_class_refuses_a_page(
    rows: dict[str, str], boss: Client, monkeypatch: pytest.MonkeyPatch, name: str, row: str
) -> None:
    page, url = (f"{ROOT}job/{rows[row]}/{part}/" for part in ("change", name))
    assert url in boss.get(page).content.decode()
    refuse(monkeypatch, Job, name)
    assert url not in boss.get(page).content.decode()
    assert boss.post(url).status_code == 403


def test_own_admin_class_decides_what_the_page_of_a_worker_shows(
    rows: dict[str, str], boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = f"{ROOT}worker/{rows['worker']}/change/"
    Command.objects.create(
        worker_id=rows["worker"], name="stack", answer={"frames": [["/x.py", 7, "pack"]]},
        created_at=timezone.now(),
    )  # fmt: skip
    for text in ("Terminate…", "/x.py"):
        assert text in boss.get(worker).content.decode()
    refuse(monkeypatch, Job, "terminate", "stack")
    for text in ("Terminate…", "/x.py"):
        assert text not in boss.get(worker).content.decode()


def test_own_admin_class_hides_the_root_cause_from_a_retry(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = make(Status.FAILURE, queue="other", has_dependents=True)
    failed = make(
        Status.FAILURE, pending_parents=1, error_class=UPSTREAM_FAILED,
        error_message=upstream_message(cause.pk, cause.name, cause.status),
    )  # fmt: skip
    Edge.objects.create(parent_id=cause.pk, child_id=failed.pk)
    job_admin: Any = admin.site.get_model_admin(Job)
    every = job_admin.get_queryset
    with monkeypatch.context() as own:
        own.setattr(
            job_admin, "get_queryset", lambda request: every(request).exclude(queue="other")
        )
        text = messages_of(post(boss, "retry", failed))
    assert "0 jobs were changed. 1 was skipped: 1 depends on a job" in text
    text = messages_of(post(boss, "retry", failed))
    assert "1 job was changed. 1 was skipped: 1 failed with a job that they depend on" in text
    assert LogEntry.objects.get().object_id == str(cause.pk)


@pytest.mark.parametrize(
    ("model", "name", "pages"),
    [
        (
            Queue, "resume",
            ("dashboard/", "queue/", "queue/held/page/", "job/", "job/{held}/change/"),
        ),
        (Queue, "pause", ("dashboard/", "queue/")),
        (Queue, "clear", ("queue/", "queue/held/page/")),
        (Schedule, "run_now", ("dashboard/", "schedule/", "job/")),
    ],
)  # fmt: skip
def test_own_admin_class_refuses_what_a_button_elsewhere_does(
    rows: dict[str, str], boss: Client, monkeypatch: pytest.MonkeyPatch,
    model: type[Any], name: str, pages: tuple[str, ...],
) -> None:  # fmt: skip
    paused_at = timezone.now() - timedelta(hours=2)
    Queue.objects.create(name="held", paused_at=paused_at, paused_by="root")
    held = make(Status.PENDING, queue="held", ready_at=paused_at)
    Schedule.objects.update(next_run_at=timezone.now() - timedelta(hours=1))
    sign = {"run_now": 'name="action" value="run_now"'}.get(name, f'name="{name}"')
    for page in pages:
        address = f"{ROOT}{page.format(held=held.pk)}"
        cache.clear()
        assert sign in boss.get(address).content.decode(), page
        with monkeypatch.context() as own:
            refuse(own, model, name)
            cache.clear()
            assert sign not in boss.get(address).content.decode(), page
    refuse(monkeypatch, model, name)
    if model is Queue:
        assert boss.post(f"{ROOT}queue/", {name: "held"}).status_code == 403


def test_own_admin_class_refuses_to_add_a_schedule(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"{ROOT}function/tests.jobs.add/"
    assert "/schedule/add/?" in boss.get(page).content.decode()
    own = admin.site.get_model_admin(Schedule)
    monkeypatch.setattr(own, "has_add_permission", lambda request: False)
    assert "/schedule/add/?" not in boss.get(page).content.decode()


def refuse(monkeypatch: pytest.MonkeyPatch, model: type[Any], *names: str) -> None:
    """Let the admin class of *model* refuse these operations."""
    monkeypatch.setattr(
        admin.site.get_model_admin(model), "has_operation_permission",
        lambda request, operation: operation.name not in names,
    )  # fmt: skip


def test_operations_are_offered_in_the_order_of_their_table(rf: Any, boss: Client) -> None:
    request = rf.get("/")
    request.user = User.objects.get()
    for model in (Job, Worker):
        model_admin: Any = admin.site.get_model_admin(model)
        names = [operation.name for operation in model_admin.operations]
        assert list(model_admin.get_actions(request)) == names


def test_site_of_a_project_without_jobs_links_none(
    boss: Client, rows: dict[str, str], settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.admin.other_site"
    Job.objects.update(schedule_id=rows["schedule"])
    for page in ("schedule/", f"schedule/{rows['schedule']}/change/", "worker/",
                 f"worker/{rows['worker']}/change/"):  # fmt: skip
        response = boss.get(f"/ops/django_jobs/{page}")
        assert response.status_code == 200
        assert '"/admin/' not in response.content.decode(), page
        assert "/job/" not in response.content.decode(), page
    sent = {"action": "run_now", "index": "0", "_selected_action": rows["schedule"]}
    done = boss.post("/ops/django_jobs/schedule/", sent, follow=True).content.decode()
    assert "1 job was enqueued: tests.jobs.add" in done
