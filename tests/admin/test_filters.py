"""What the address of a list may ask: its own filters, and nothing that a page does not show."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client, RequestFactory
from django.urls import reverse

from django_jobs.admin import JobAdminMixin, ScheduleAdminMixin
from django_jobs.admin.base import ModelAdmin
from django_jobs.models import Job, Schedule
from django_jobs.models.fields import JSONTextField
from tests.admin.test_jobs import make

pytestmark = pytest.mark.django_db

ADMINS = [
    one for one in admin.site._registry.values() if one.opts.app_label == "django_jobs"
]  # fmt: skip
LISTS = [
    one for one in ADMINS if type(one).__name__ in ("JobAdmin", "ScheduleAdmin", "WorkerAdmin")
]
JOBS = next(one for one in ADMINS if type(one).__name__ == "JobAdmin")
LOOKUPS = (
    "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "regex",
    "iregex", "gt", "range", "iexact", "length__gt",
)  # fmt: skip


def url_of(model_admin: Any) -> str:
    return reverse(f"admin:django_jobs_{model_admin.opts.model_name}_changelist")


def columns(model: Any) -> list[str]:
    # Annotations of the lists could be looked up like columns.
    return [field.name for field in model._meta.get_fields()] + ["args_text", "kwargs_length"]


@pytest.mark.parametrize("model_admin", ADMINS, ids=lambda one: type(one).__name__)
def test_lookups_cannot_guess_hidden_columns(model_admin: Any) -> None:
    request = RequestFactory().get("/")
    for column in columns(model_admin.model):
        for lookup in LOOKUPS:
            assert not model_admin.lookup_allowed(f"{column}__{lookup}", "x", request)


@pytest.mark.parametrize("model_admin", ADMINS, ids=lambda one: type(one).__name__)
def test_payload_columns_have_no_lookups(model_admin: Any) -> None:
    request = RequestFactory().get("/")
    texts = [
        field.name
        for field in model_admin.model._meta.get_fields()
        if isinstance(field, (JSONTextField, models.TextField))
    ]
    for column in texts:
        for lookup in ("", "__exact", "__in", "__isnull"):
            assert not model_admin.lookup_allowed(f"{column}{lookup}", "x", request)


@pytest.mark.parametrize("model_admin", LISTS, ids=lambda one: type(one).__name__)
def test_page_refuses_lookups_without_a_filter(boss: Client, model_admin: Any) -> None:
    for field in model_admin.model._meta.get_fields():
        if isinstance(field, models.TextField | models.CharField):
            answer = boss.get(url_of(model_admin), {f"{field.name}__contains": "x"})
            assert answer.status_code == 400, field.name


def test_regular_expressions_cannot_guess_a_hidden_argument(boss: Client) -> None:
    make(name="tests.jobs.echo", kwargs={"password": "Tr0ub4dor"})
    url = reverse("admin:django_jobs_job_changelist")
    for value in ('"password":"T', '"password":"X', "(a+)+$"):
        assert boss.get(url, {"kwargs__regex": value}).status_code == 400


@pytest.mark.parametrize("name", ["name", "queue", "error", "schedule", "worker", "ended"])
def test_empty_value_chooses_no_job_on_any_request(boss: Client, name: str) -> None:
    job, url = make("RETRY", error_class="builtins.ValueError"), url_of(JOBS)
    for headers in ({}, {"x-jobs-refresh": "1"}):
        assert str(job.pk) not in boss.get(url, {name: ""}, headers=headers).content.decode()
    form = {"action": "revoke", "select_across": "1", "_selected_action": [str(job.pk)]}
    boss.post(f"{url}?{name}=", {**form, "confirmed": "yes"})
    job.refresh_from_db()
    assert job.status == "RETRY"


def test_own_filters_work(boss: Client) -> None:
    asked = {
        Job: {"status": "FAILURE", "queue": "default", "name": "x", "error": "x", "age": "day",
              "attempts": "more", "schedule": "1", "worker": "x", "p": "1", "o": "1", "q": "x"},
        Schedule: {"enabled__exact": "1", "kind__exact": "interval", "source__exact": "admin",
                   "q": "x", "o": "1"},
    }  # fmt: skip
    for model, queries in asked.items():
        url = reverse(f"admin:django_jobs_{model._meta.model_name}_changelist")
        for name, value in queries.items():
            assert boss.get(url, {name: value}).status_code == 200, name


def test_filters_of_a_project_s_own_list_work() -> None:
    class MyJobAdmin(JobAdminMixin, ModelAdmin):
        list_filter = ("queue", ("name", admin.AllValuesFieldListFilter))
        date_hierarchy = "enqueued_at"

    class MyScheduleAdmin(ScheduleAdminMixin, ModelAdmin):
        def get_list_filter(self, request: Any) -> Any:
            return ("timezone",)

    request = RequestFactory().get("/")
    jobs, schedules = MyJobAdmin(Job, admin.site), MyScheduleAdmin(Schedule, admin.site)
    for lookup in ("queue", "queue__exact", "name", "name__isnull", "enqueued_at__year"):
        assert jobs.lookup_allowed(lookup, "x", request)
    for lookup in ("status", "queue__regex", "enqueued_at__regex", "kwargs", "name__queue"):
        assert not jobs.lookup_allowed(lookup, "x", request)
    assert schedules.lookup_allowed("timezone__exact", "UTC", request)
    assert not schedules.lookup_allowed("enabled__exact", "1", request)
