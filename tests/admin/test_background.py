"""Operations of the admin on many jobs: a background job performs them for the user who asked."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from django_jobs import control
from django_jobs.admin import background, job_actions
from django_jobs.admin.job_targets import moving, named, retrying_from
from django_jobs.define import registry
from django_jobs.ids import uuid7
from django_jobs.models import BulkChange, Job, Queue, Schedule, Worker
from django_jobs.schedules.validation import problems
from django_jobs.status import Status
from tests.admin.test_http_api import act, bearer
from tests.admin.test_jobs import LIST, make, messages_of, page, post

pytestmark = pytest.mark.django_db

MANY = 5


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_IN_REQUEST", MANY - 1)
    monkeypatch.setattr(background, "_PIECE", 2)


@pytest.fixture
def served(worker: Worker) -> Worker:
    """A worker that knows the job function of background jobs."""
    worker.details = {"registered": {registry.CHANGE_JOBS: {}}}
    worker.save()
    return worker


def make_many(status: str = Status.FAILURE) -> list[Job]:
    return [make(status) for _number in range(MANY)]


def the_job() -> Job:
    return Job.objects.get(name=registry.CHANGE_JOBS)


def statuses() -> list[str]:
    rows = Job.objects.exclude(name=registry.CHANGE_JOBS)
    return sorted(rows.values_list("status", flat=True))


def test_background_job_does_it_as_the_user_who_asked(
    boss: Client, served: Worker, work: Callable[..., Any]
) -> None:
    rows = make_many()
    now = timezone.now()
    for days in (29, 31):
        BulkChange.objects.create(
            pk=uuid7(), operation="retry", job_ids=b"", created_at=now - datetime.timedelta(days)
        )
    response = post(boss, "retry", *rows)
    job = the_job()
    ages = BulkChange.objects.order_by("created_at").values_list("created_at", flat=True)
    assert [(now - age).days for age in ages] == [29, -1]
    assert response.redirect_chain == [(page(job), 302)]
    assert "Retry: a background job goes through 5 jobs." in messages_of(response)
    assert (statuses(), job.kwargs, job.args) == (["FAILURE"] * MANY, {}, ["retry", MANY])
    control.run_now([rows[0].pk])
    Job.objects.filter(pk=rows[0].pk).update(status=Status.STARTED)
    work(1)
    assert statuses() == ["PENDING"] * 4 + ["STARTED"]
    job.refresh_from_db()
    assert (job.status, job.progress) == ("SUCCESS", {"done": 5, "total": 5, "message": ""})
    assert job.result == {"operation": "retry", "changed": 4, "skipped": {"is started": 1}}
    assert bytes(BulkChange.objects.get(pk=job.pk).job_ids) == b""
    assert "is started" in boss.get(page(job)).content.decode()
    user = User.objects.get()
    entries = LogEntry.objects.order_by("pk").values_list("user", "action_flag", "object_id")
    assert entries[0] == (user.pk, ADDITION, str(job.pk))
    changed = {(user.pk, CHANGE, str(row.pk)) for row in rows[1:]}
    assert set(entries[1:]) == changed


def test_confirmation_says_who_does_it(boss: Client, worker: Worker) -> None:
    make_many()
    data = {"action": "retry", "_selected_action": [str(Job.objects.latest("pk").pk)],
            "select_across": "1", "index": "0", "ask": "1"}  # fmt: skip

    def asked() -> str:
        return boss.post(f"{LIST}?status=FAILURE", data).content.decode()

    # This worker may be of an older version.
    assert "no live worker would run" in asked()
    worker.details = {"registered": {registry.CHANGE_JOBS: {}}}
    worker.save()
    assert "a background job in the queue “default”" in asked()
    Queue.objects.create(name="default", paused_at=worker.started_at)
    assert "no live worker would run" in asked()


def test_request_does_it_without_a_worker_and_with_a_full_queue(
    boss: Client, served: Worker, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Worker.objects.update(quiet=True)
    assert "5 jobs were changed" in messages_of(post(boss, "retry", *make_many()))
    Worker.objects.update(quiet=False)
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "QUEUES": {"default": {"MAX_PENDING": 5}}}
    monkeypatch.setattr("django_jobs.admin.job_buttons.MOST_JOBS", 4)
    told = messages_of(post(boss, "revoke", *Job.objects.filter(status=Status.PENDING)))
    assert "More than 4 jobs match" in told
    assert "4 jobs were changed" in told
    assert not BulkChange.objects.exists()


def test_user_needs_the_permission_when_it_runs(
    client_of: Callable[..., Client], served: Worker, work: Callable[..., Any]
) -> None:
    post(client_of("view_job", "retry_job"), "retry", *make_many())
    User.objects.get().user_permissions.clear()
    work(1)
    job = the_job()
    assert job.error_class == "django.core.exceptions.PermissionDenied"
    assert "may no longer retry jobs" in job.error_message
    assert statuses() == ["FAILURE"] * MANY


def test_own_admin_class_may_allow_it_without_the_permission_and_hide_the_job(
    client_of: Callable[..., Client], served: Worker, work: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job_admin: Any = admin.site.get_model_admin(Job)
    monkeypatch.setattr(job_admin, "has_operation_permission", lambda request, operation: True)
    shown = job_admin.get_queryset
    monkeypatch.setattr(job_admin, "get_queryset", lambda request: shown(request).exclude(
        name=registry.CHANGE_JOBS
    ))  # fmt: skip
    # The page of a job that the class hides would be a 404.
    response = post(client_of("view_job"), "retry", *make_many())
    assert response.redirect_chain == [(LIST, 302)]
    work(1)
    assert statuses() == ["PENDING"] * MANY


def test_nobody_can_enqueue_it_with_other_arguments(
    boss: Client, served: Worker, work: Callable[..., Any], settings: Any
) -> None:
    url = f"/admin/django_jobs/function/{registry.CHANGE_JOBS}/"
    html = boss.get(url).content.decode()
    assert "argument_operation" not in html
    assert "Schedule this…" not in html
    given = {"argument_operation": "retry", "argument_number": "5"}
    assert boss.post(url, given).status_code == 403
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "API_TOKENS": True}
    answer = act("/function/api/enqueue", bearer(User.objects.get()), job=registry.CHANGE_JOBS)
    assert (answer.status_code, Job.objects.count()) == (403, 0)
    schedule = Schedule(name="n", job_name=registry.CHANGE_JOBS, args=["retry", 5], kwargs={},
                        kind="interval", interval_seconds=60)  # fmt: skip
    assert "Only django_jobs enqueues" in str(problems(schedule))
    registry.get(registry.CHANGE_JOBS).delay("delete_selected", 5)
    work(1)
    assert "Nobody has confirmed this" in the_job().error_message
    response = post(boss, "copy", the_job())
    assert "1 only django_jobs enqueues it" in messages_of(response)
    Job.objects.update(status=Status.PENDING)
    assert f"{the_job().pk}/edit/" not in boss.get(page(the_job())).content.decode()
    edited = boss.post(f"{LIST}{the_job().pk}/edit/", follow=True)
    assert "Move the job instead" in messages_of(edited)


def test_attempt_after_a_crash_goes_on_with_the_rest(
    boss: Client, served: Worker, work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = [False, True]

    def perform(*given: Any) -> Any:
        done = job_actions.perform(*given)
        if crashes and crashes.pop(0):
            raise OperationalError("the server went away")
        return done

    monkeypatch.setattr(background, "perform", perform)
    post(boss, "copy", *make_many())
    work(1)
    assert (the_job().status, Job.objects.count()) == ("RETRY", 1 + MANY + 4)
    assert BulkChange.objects.get().position == 2
    control.run_now([the_job().pk])
    work(1)
    job = the_job()
    assert job.result == {"operation": "copy", "changed": MANY, "skipped": {}}
    assert Job.objects.count() == 1 + 2 * MANY


def test_retry_of_an_ended_change_does_nothing(
    boss: Client, served: Worker, work: Callable[..., Any]
) -> None:
    post(boss, "retry", *make_many())
    work(1)
    Job.objects.exclude(name=registry.CHANGE_JOBS).update(status=Status.FAILURE)
    control.retry([the_job().pk])
    work(1)
    assert (the_job().result["changed"], statuses()) == (MANY, ["FAILURE"] * MANY)


def test_change_keeps_what_its_operation_needs(
    boss: Client, served: Worker, work: Callable[..., Any]
) -> None:
    post(boss, "move", *make_many(Status.PENDING), **{"move-queue": "slow"})
    work(1)
    assert Job.objects.filter(queue="slow").count() == MANY
    for operation in (moving("slow", -5), retrying_from("pay"), job_actions.DELETE):
        again = named(operation.name, json.loads(json.dumps(operation.target)))
        assert (again.audit, again.label) == (operation.audit, operation.label)


def test_http_api_tells_the_background_job(
    served: Worker, work: Callable[..., Any], settings: Any
) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "API_TOKENS": True}
    root = bearer(User.objects.create_superuser("root"))
    ids = [str(row.pk) for row in make_many()]
    answer = act("/job/api/retry", root, ids=[*ids, str(uuid7())]).json()
    assert answer == {"changed": 0, "skipped": {"unknown": 1}, "job": str(the_job().pk)}
    work(1)
    assert statuses() == ["PENDING"] * MANY
    assert the_job().result["skipped"] == {"unknown": 1}
