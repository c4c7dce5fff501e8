"""The workflow on the page of one of its jobs: its graph, and a button that retries its causes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib.admin import AdminSite
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import ngettext

from ..define import row_options
from ..models import Job
from ..workflows.graph import Workflow, workflow_of
from .workflow_svg import graph

#: The most jobs that the button retries.
_MOST_RETRIED = 100


def shown_workflow(site: AdminSite, job: Job, *, may_retry: bool) -> dict[str, Any] | None:
    """Return the drawing of the job's workflow, or None for a job without one."""
    workflow = workflow_of(job)
    if workflow.total < 2:
        return None
    page = f"{site.name}:django_jobs_job_change"
    causes = [node.id for node in workflow.nodes if node.is_cause][:_MOST_RETRIED]
    return {
        "svg": graph(workflow.nodes, job.pk, lambda pk: reverse(page, args=[pk])),
        "total": number_format(workflow.total, force_grouping=True),
        "done": number_format(workflow.done, force_grouping=True),
        "failed": number_format(workflow.failed, force_grouping=True),
        "left_out": workflow.total > len(workflow.nodes),
        "taken": _taken(job, workflow),
        "causes": causes if may_retry else [],
        "retry": ngettext("Retry the %d that failed", "Retry the %d that failed", len(causes))
        % len(causes),
        "list": reverse(f"{site.name}:django_jobs_job_changelist"),
    }


def _taken(job: Job, workflow: Workflow) -> str:
    """Return the names of the jobs whose results are the job's first arguments."""
    if row_options.read(job.options).workflow.taken_as is None:
        return ""
    by_id = {node.id: node for node in workflow.nodes}
    own = by_id.get(job.pk)
    names = Counter(by_id[pk].name for pk in (own.parents if own else ()) if pk in by_id)
    return ", ".join(
        f"{number_format(number)} × {name}" if number > 1 else name
        for name, number in names.items()
    )
