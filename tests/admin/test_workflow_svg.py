"""The graph of a workflow on the pages of its jobs."""

from __future__ import annotations

from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import chord, group
from django_jobs.admin.workflow_svg import MOST_DRAWN, graph
from django_jobs.models import Job
from django_jobs.status import Status
from django_jobs.workflows.graph import Node
from tests.admin.test_jobs import make, page
from tests.jobs import add

ONE, TWO = UUID(int=1), UUID(int=2)


def test_graph_golden() -> None:
    nodes = [
        Node(ONE, "shop.charge", "SUCCESS", None, ()),
        Node(TWO, "shop.send_a_very_long_mail", "FAILURE", None, (ONE,), depth=1),
    ]
    assert str(graph(nodes, TWO, lambda pk: f"/job/{pk.int}/")) == (
        '<svg class="jobs-graph" role="group" aria-label="Jobs that depend on each other" '
        'viewBox="0 0 392 38" width="392" height="38">\n'
        '<path class="jobs-edge" d="M171 15C196 15 196 15 221 15"/>\n'
        '<a href="/job/1/"><g class="jobs-node jobs-success" transform="translate(1 1)">'
        '<title>shop.charge: success</title><rect width="170" height="28" rx="4"/>'
        '<path d="M3 8l4 4l6-8" transform="translate(6 6)"/><text x="28" y="18">charge</text>'
        "</g></a>\n"
        '<a href="/job/2/" aria-current="page"><g class="jobs-node jobs-failure" '
        'transform="translate(221 1)"><title>shop.send_a_very_long_mail: failure</title>'
        '<rect width="170" height="28" rx="4"/><path d="M4 4l8 8M12 4l-8 8" '
        'transform="translate(6 6)"/><text x="28" y="18">send_a_very_long_…</text></g></a>\n'
        "</svg>"
    )


def test_graph_escapes_names() -> None:
    svg = str(graph([Node(ONE, '"><script>', "ODD", None, ())], ONE, str))
    assert "<script" not in svg
    ElementTree.fromstring(svg)


@pytest.mark.django_db
def test_page_draws_the_workflow(boss: Client) -> None:
    chord([add.s(1, 2), add.s(3, 4)])(add.s(5))
    for row in Job.objects.all():
        html = boss.get(page(row)).content.decode()
        assert html.count('class="jobs-node') == 3
        assert html.count('class="jobs-edge') == 2
        assert "3 jobs: 0 ended" in html
    assert "jobs-graph" not in boss.get(page(make(Status.FAILURE))).content.decode()


@pytest.mark.django_db
def test_page_of_a_large_workflow_draws_a_part(boss: Client) -> None:
    group(add.s(number, 1) for number in range(MOST_DRAWN + 5)).delay()
    row = Job.objects.order_by("pk")[0]

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown: Any = boss.get(page(row)).content.decode()
        assert shown.count('class="jobs-node') <= MOST_DRAWN
        return len(captured)

    if row.root_id is not None:
        assert "Only the oldest jobs are shown." in boss.get(page(row)).content.decode()
    queries()
    assert queries() <= 16
