"""The status that a page requests repeatedly while a job runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.http import JsonResponse

from django_jobs import Status
from django_jobs.models import Job
from django_jobs.status import ENDED


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a page's jobs; the page reloads its parts when ``stamp`` changes."""

    status: str
    done: float = 0
    total: float | None = None
    message: str = ""
    ended: bool = False
    stamp: str = ""


def respond(progress: Progress) -> JsonResponse:
    response = JsonResponse(dataclasses.asdict(progress))
    response["Cache-Control"] = "no-store"
    return response


def jobs_by_id(ids: Iterable[UUID | None]) -> Mapping[UUID, Job]:
    """Return the rows of the jobs; rows of old jobs may be pruned."""
    shown = ("status", "retries", "progress", "error_class", "error_message")
    return Job.objects.only(*shown).in_bulk([job_id for job_id in ids if job_id is not None])


def progress_of(job_id: UUID | None) -> Progress:
    """Return the progress of one job."""
    job = jobs_by_id([job_id]).get(job_id)
    if job is None:
        return Progress("GONE", ended=True, stamp="GONE")
    shown = job.progress or {}
    return Progress(
        job.status,
        done=shown.get("done") or 0,
        total=shown.get("total"),
        message=shown.get("message") or explain(job),
        ended=job.status in ENDED,
        stamp=f"{job.status} {job.retries}",
    )


def explain(job: Job) -> str:
    """Return the state of *job* as a sentence."""
    match job.status:
        case Status.SUCCESS:
            return "Done."
        case Status.FAILURE:
            return f"Failed: {job.error_message or job.error_class}"
        case Status.RETRY:
            return f"Attempt {job.retries} failed ({job.error_message}); another one follows."
        case Status.STARTED:
            return "Running."
        case Status.REVOKED:
            return "Revoked."
    return "Waiting for a worker."
