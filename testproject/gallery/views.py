from collections.abc import Mapping, Sequence
from pathlib import PurePath
from uuid import UUID

from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from django_jobs.models import Job
from django_jobs.status import ENDED

from ..website.polling import Progress, jobs_by_id, progress_of, respond
from .forms import UploadForm
from .jobs import add_pictures, draw_samples, enqueue_thumbnails
from .models import Picture

SHOWN = 60
SAMPLES = 6


def gallery(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        files = form.cleaned_data["files"]
        add_pictures([Picture(title=PurePath(f.name).stem[:200], original=f) for f in files])
        received = "One picture" if len(files) == 1 else f"{len(files)} pictures"
        messages.success(request, f"{received} received; thumbnails follow.")
        return redirect("gallery")
    pictures = Picture.objects.all()[:SHOWN]
    jobs = jobs_by_id(picture.job_id for picture in pictures)
    context = {
        "form": form,
        "pictures": [(picture, jobs.get(picture.job_id)) for picture in pictures],
        "stamp": _stamp(pictures, jobs),
        "drawing": request.session.get("drawing"),
    }
    return render(request, "gallery/gallery.html", context)


@require_POST
def draw_more(request: HttpRequest) -> HttpResponse:
    newest = Picture.objects.aggregate(Max("sample"))["sample__max"]
    request.session["drawing"] = str(draw_samples.delay((newest or 0) + 1, SAMPLES))
    return redirect("gallery")


@require_POST
def again(request: HttpRequest) -> HttpResponse:
    enqueue_thumbnails(Picture.objects.all()[:SHOWN])
    return redirect("gallery")


def status(request: HttpRequest) -> JsonResponse:
    """Return the progress of the thumbnails; a running job may still add pictures."""
    pictures = Picture.objects.all()[:SHOWN]
    jobs = jobs_by_id(picture.job_id for picture in pictures)
    stamp, total = _stamp(pictures, jobs), len(pictures)
    drawing = request.session.get("drawing")
    complete = not drawing or progress_of(UUID(drawing)).ended
    done = total - sum(job.status not in ENDED for job in jobs.values())
    message = f"{done} of {total} pictures are done." if total else "No pictures yet."
    return respond(
        Progress("", done, total, message, ended=complete and done == total, stamp=stamp)
    )


def _stamp(pictures: Sequence[Picture], jobs: Mapping[UUID, Job]) -> str:
    newest = pictures[0].pk if pictures else 0
    states = "".join(jobs[p.job_id].status[0] if p.job_id in jobs else "-" for p in pictures)
    return f"{newest} {states}"
