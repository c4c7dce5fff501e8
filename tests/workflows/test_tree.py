"""A workflow as people see it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from django_jobs import chain, group
from django_jobs.models import Job
from django_jobs.workflows.graph import workflow_of
from tests.workflows.jobs import add, become, fail, same, spawn, total

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def test_workflow_is_printed_as_a_tree(drain: Drain) -> None:
    result = chain(add.s(1), group(add.s(2), fail.s()), total.s()).apply_async()
    drain()
    first, one, two, body = Job.objects.order_by("id")
    assert printed("workflow", str(result.id)).splitlines() == [
        "4 of 4 done, 2 failed: 2 FAILURE, 2 SUCCESS",
        f"SUCCESS    {first.pk}  {add.name}",
        f"├─ SUCCESS    {one.pk}  {add.name}",
        f"└─ FAILURE    {two.pk}  {fail.name}  ← root cause",
        f"   └─ FAILURE    {body.pk}  {total.name}  after 2",
    ]
    assert printed("workflow", str(one.pk)) == printed("workflow", str(result.id))


def test_many_alike_are_counted() -> None:
    result = (group(add.s(number) for number in range(12)) | total.s()).apply_async()
    lines = printed("workflow", str(result.id)).splitlines()
    assert lines[:2] == [
        "0 of 13 done, 0 failed: 12 PENDING, 1 WAITING",
        f"12 × {add.name}: 12 PENDING",
    ]
    assert lines[2].endswith(f"{total.name}  after 12")


def test_json_of_a_workflow() -> None:
    result = (add.s(1) | add.s(2)).apply_async()
    shown = json.loads(printed("workflow", str(result.id), "--json"))
    assert (shown["done"], shown["total"], shown["failed"]) == (0, 2, 0)
    assert shown["statuses"] == {"PENDING": 1, "WAITING": 1}
    assert shown["nodes"][1]["parents"] == [shown["nodes"][0]["id"]]


def test_nodes_are_capped_and_counts_are_not() -> None:
    result = group(add.s(number) for number in range(30)).apply_async()
    workflow = workflow_of(result[0].job, most=10)
    assert (len(workflow.nodes), workflow.total) == (10, 30)


def test_what_a_job_started_and_became_stands_in_its_workflow(drain: Drain) -> None:
    result = (spawn.s(1) | become.si(add.s(1) | add.s(2))).apply_async()
    drain()
    workflow = workflow_of(result.job)
    depths = {node.id: node.depth for node in workflow.nodes}
    assert workflow.total == 6
    assert all(depths[parent] < depths[child] for parent, child in workflow.edges)


def test_job_s_page_links_what_is_around_it(admin_client: Client) -> None:
    result = (group(add.s(1), add.s(2)) | total.s() | same.s()).apply_async()
    body = result.parent
    page = admin_client.get(f"/admin/django_jobs/job/{body.id}/change/").content.decode()
    for each in (*body.parent, result):
        assert f"/admin/django_jobs/job/{each.id}/change/" in page


def test_deleting_in_the_admin_keeps_what_is_needed(work: Drain, admin_user: Any) -> None:
    from django_jobs.admin.job_actions import DELETE, perform

    def delete() -> None:
        perform(DELETE, Job.objects.values_list("pk", flat=True), admin_user.pk, "default")

    (add.s(1) | add.s(2)).apply_async()
    work()
    delete()
    assert Job.objects.count() == 2
    work()
    delete()
    assert Job.objects.count() == 0
