"""The graph of a workflow on the pages of its jobs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import chord
from django_jobs.admin.workflow_boxes import MOST_BOXES
from django_jobs.admin.workflow_svg import graph
from django_jobs.models import Job
from django_jobs.status import Status
from django_jobs.workflows import graph as graphs
from django_jobs.workflows.graph import Node
from tests.admin.test_jobs import make, page
from tests.jobs import add, fail

ONE, TWO = UUID(int=1), UUID(int=2)
UPSTREAM = "django_jobs.exceptions.UpstreamFailed"


def test_graph_golden() -> None:
    nodes = [
        Node(ONE, "shop.charge", "FAILURE", None, (), error_class="shop.Declined"),
        Node(TWO, "shop.send_a_very_long_mail", "FAILURE", None, (ONE,), 1, UPSTREAM),
    ]
    assert str(graph(nodes, TWO, lambda pk: f"/job/{pk.int}/")) == (
        '<svg class="jobs-graph" role="group" aria-label="Jobs that depend on each other" '
        'viewBox="0 0 392 39" width="392" height="39">\n'
        '<defs><pattern id="jobs-hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<path class="jobs-hatch-line jobs-failure" d="M0 6L6 0"/></pattern></defs>\n'
        '<path class="jobs-edge" d="M171 15C196 15 196 15 221 15"/>\n'
        '<a href="/job/1/"><g class="jobs-node jobs-failure jobs-cause" '
        'transform="translate(1 1)"><title>shop.charge: failure, root cause</title>'
        '<rect class="jobs-box" width="170" height="28" rx="4"/>'
        '<path d="M4 4l8 8M12 4l-8 8" transform="translate(6 6)"/><text x="28" y="18">charge</text>'
        "</g></a>\n"
        '<a href="/job/2/" aria-current="page"><g class="jobs-node jobs-failure" '
        'transform="translate(221 1)"><title>shop.send_a_very_long_mail: failure, did not run'
        '</title><rect class="jobs-box" width="170" height="28" rx="4"/>'
        '<rect class="jobs-hatched" width="170" height="28" rx="4" fill="url(#jobs-hatch)"/>'
        '<path d="M4 4l8 8M12 4l-8 8" transform="translate(6 6)"/>'
        '<text x="28" y="18">send_a_very_long_…</text></g></a>\n'
        "</svg>"
    )


def test_graph_escapes_names() -> None:
    svg = str(graph([Node(ONE, '"><script>', "ODD", None, ())], ONE, str))
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def fan(members: int, failed: int = 0, depth: int = 1) -> list[Node]:
    """A job, so many after it, and one after all of these; the first ones failed."""
    first = Node(UUID(int=1), "shop.list", "SUCCESS", None, ())
    middle = [
        Node(UUID(int=10 + number), "shop.extract", "FAILURE" if number < failed else "SUCCESS",
             None, (first.id,), 1, "shop.Down" if number < failed else "")
        for number in range(members)
    ]  # fmt: skip
    lost = ("FAILURE", UPSTREAM) if failed else ("SUCCESS", "")
    parents = tuple(node.id for node in middle)
    last = Node(UUID(int=5), "shop.merge", lost[0], None, parents, 2, lost[1])
    return [first, *middle, last]


def titles(nodes: list[Node], current: UUID) -> list[str]:
    svg = ElementTree.fromstring(str(graph(nodes, current, str)))
    return [each.text or "" for each in svg.iter("title")]


def test_equal_jobs_share_a_box_beside_the_current_one_and_the_failures() -> None:
    nodes = fan(200, failed=2)
    assert titles(nodes, nodes[100].id) == [
        "shop.list: success",
        "shop.extract: failure, root cause",
        "shop.extract: failure, root cause",
        "197 × shop.extract: 197 success",
        "shop.extract: success",
        "shop.merge: failure, did not run",
    ]
    svg = str(graph(nodes, nodes[100].id, str))
    assert svg.count('class="jobs-edge"') == 8
    assert ">197 × extract</text>" in svg
    assert ">197 ✓</text>" in svg


def test_box_of_many_failures_tells_how_many() -> None:
    nodes = fan(200, failed=30)
    svg = str(graph(nodes, nodes[0].id, str))
    assert ">190 × extract</text>" in svg
    assert ">170 ✓  20 ✗</text>" in svg
    assert svg.count("jobs-cause") == 11


def test_graph_of_many_different_jobs_has_the_current_one_the_causes_and_the_ends() -> None:
    nodes = [
        Node(UUID(int=number + 1), f"shop.step{number}", "SUCCESS", None,
             (UUID(int=number),) if number else (), number)
        for number in range(300)
    ]  # fmt: skip
    nodes[150] = dataclasses.replace(nodes[150], status="FAILURE", error_class="shop.Down")
    drawn = titles(nodes, nodes[200].id)
    assert len(drawn) == MOST_BOXES
    names = {title.partition(":")[0] for title in drawn}
    assert {"shop.step0", "shop.step150", "shop.step200", "shop.step299"} <= names


@pytest.mark.django_db
def test_page_draws_the_workflow(boss: Client) -> None:
    chord([add.s(1, 2), add.s(3, 4)])(add.s(5))
    for row in Job.objects.all():
        html = boss.get(page(row)).content.decode()
        assert html.count('class="jobs-node') == 3
        assert html.count('class="jobs-edge') == 2
        assert "3 jobs: 0 ended" in html
    body = Job.objects.get(pending_parents=2)
    assert "the results of 2 × tests.jobs.add." in boss.get(page(body)).content.decode()
    assert "jobs-graph" not in boss.get(page(make(Status.FAILURE))).content.decode()


@pytest.mark.django_db
def test_button_retries_those_that_failed_and_no_others(
    client_of: Callable[..., Client], drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = chord([fail.s(), add.s(3, 4)])(add.s(5))
    drain()
    client = client_of("view_job")
    assert "that failed</button>" not in client.get(page(result.job)).content.decode()
    User.objects.get().user_permissions.add(Permission.objects.get(codename="retry_job"))
    html = client.get(page(result.job)).content.decode()
    assert "Retry the 1 that failed" in html
    with monkeypatch.context() as own_admin:
        job_admin: Any = admin.site.get_model_admin(Job)
        own_admin.setattr(job_admin, "has_operation_permission", lambda request, operation: False)
        assert "that failed</button>" not in client.get(page(result.job)).content.decode()
    form = re.search(r'<form id="jobs-causes"(.*?)</form>', html, re.DOTALL)
    assert form is not None
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[1])
    causes = re.findall(r'form="jobs-causes" name="_selected_action" value="([^"]*)"', html)
    button = re.search(r'form="jobs-causes" name="(\w+)" value="(\w+)">Retry', html)
    assert button is not None
    data = {**dict(fields), "_selected_action": causes, button[1]: button[2]}
    client.post("/admin/django_jobs/job/", data)
    statuses = Job.objects.order_by("pk").values_list("name", "status")
    assert dict(statuses)["tests.jobs.fail"] == Status.PENDING


@pytest.mark.django_db
def test_page_of_a_large_workflow_has_its_failures_and_its_end(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs.workflow_of, "__defaults__", (20,))
    chord([add.s(number, 1) for number in range(90)])(add.s(5))
    rows = list(Job.objects.order_by("pk"))
    Job.objects.filter(pk=rows[60].pk).update(status=Status.FAILURE, error_class="shop.Down")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown = boss.get(page(rows[40])).content.decode()
        assert "Not all are shown" in shown
        for row in (rows[40], rows[60]):
            assert f'<a href="{page(row)}"' in shown
        return len(captured)

    queries()
    assert queries() <= 22
