import csv
import datetime
from collections import Counter

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from django_jobs import Status
from django_jobs.models import Attempt, Job
from django_jobs.status import ENDED

from ..website.polling import Progress, jobs_by_id, progress_of, respond
from .forms import CompareForm
from .jobs import compare, enqueue_report, import_airports, import_chunk
from .models import Airport, Comparison, ImportRun, Part, Report
from .report import COLUMNS

LONELIEST = 20
# An import that runs for longer does not prevent another one.
PATIENCE = datetime.timedelta(minutes=5)


def airports(request: HttpRequest) -> HttpResponse:
    run, comparison = ImportRun.objects.first(), Comparison.objects.first()
    context = {
        "count": Airport.objects.count(),
        "run": run,
        "run_stamp": _import_progress(run).stamp if run else "",
        "comparison": comparison,
        "form": CompareForm(initial={"scope": comparison and comparison.scope}),
    }
    if comparison:
        context |= _comparison_context(comparison)
    return render(request, "airports/airports.html", context)


@require_POST
def start_import(request: HttpRequest) -> HttpResponse:
    begun = timezone.now() - PATIENCE
    if ImportRun.objects.filter(finished_at=None, started_at__gte=begun).exists():
        messages.info(request, "An import is under way already.")
    else:
        enqueue_import()
    return redirect("airports")


@transaction.atomic
def enqueue_import() -> ImportRun:
    run = ImportRun.objects.create()
    ImportRun.objects.filter(pk=run.pk).update(job_id=import_airports.delay(run.pk).id)
    return run


def import_status(request: HttpRequest, pk: int) -> JsonResponse:
    return respond(_import_progress(get_object_or_404(ImportRun, pk=pk)))


def _import_progress(run: ImportRun) -> Progress:
    if run.total is None:
        return progress_of(run.job_id)
    ended = run.finished_at is not None
    message = f"Imported {run.imported:,} of {run.total:,} airports."
    if not ended and (failed := _failed_chunks(run)):
        message += f" {failed} chunks failed; retry them in the admin."
        return Progress(Status.FAILURE, run.imported, run.total, message, True, f"failed {failed}")
    return Progress("", run.imported, run.total, message, ended, stamp=str(ended))


def _failed_chunks(run: ImportRun) -> int:
    chunks = Job.objects.filter(name=import_chunk.name, parent_id=run.job_id)
    return chunks.filter(status=Status.FAILURE).count()


@require_POST
def start_comparison(request: HttpRequest) -> HttpResponse:
    form = CompareForm(request.POST)
    if form.is_valid():
        compare(form.cleaned_data["scope"])
    else:
        messages.error(request, "There are no such airports; import them first.")
    return redirect("airports")


def comparison_status(request: HttpRequest, pk: int) -> JsonResponse:
    comparison = get_object_or_404(Comparison, pk=pk)
    states = Counter(state for _, state in _states(comparison))
    done, total = sum(states[status] for status in ENDED), states.total()
    message = f"{done} of {total} parts are done"
    message += f", {states[Status.STARTED]} running." if done < total else "."
    if failed := states[Status.FAILURE]:
        message += f" {failed} failed."
    stamp = _comparison_stamp(comparison)
    return respond(Progress("", done, total, message, ended=done == total, stamp=stamp))


def _comparison_context(comparison: Comparison) -> dict[str, object]:
    return {
        "parts": _states(comparison),
        "loneliest": comparison.loneliest()[:LONELIEST],
        "comparison_stamp": _comparison_stamp(comparison),
    }


def _comparison_stamp(comparison: Comparison) -> str:
    return "".join(state[:2] for _, state in _states(comparison))


def _states(comparison: Comparison) -> list[tuple[Part, str]]:
    parts = list(comparison.parts.all())
    jobs = jobs_by_id(part.job_id for part in parts)
    # Read the results from the parts' own rows: the jobs may have been pruned.
    return [
        (part, Status.SUCCESS if part.seconds is not None else _status(jobs.get(part.job_id)))
        for part in parts
    ]


def _status(job: object) -> str:
    return getattr(job, "status", Status.REVOKED)


def report(request: HttpRequest) -> HttpResponse:
    newest = Report.objects.first()
    context = {
        "report": newest,
        "stamp": progress_of(newest.job_id).stamp if newest else "",
        "attempts": Attempt.objects.filter(job_id=newest.job_id) if newest else [],
        "has_airports": Airport.objects.exists(),
    }
    return render(request, "airports/report.html", context)


@require_POST
def start_report(request: HttpRequest) -> HttpResponse:
    enqueue_report()
    return redirect("report")


def report_status(request: HttpRequest, pk: int) -> JsonResponse:
    return respond(progress_of(get_object_or_404(Report, pk=pk).job_id))


def report_csv(request: HttpRequest, pk: int) -> HttpResponse:
    rows = get_object_or_404(Report, pk=pk, finished_at__isnull=False).rows
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="airports-by-country-{pk}.csv"'
    writer = csv.DictWriter(response, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return response
