from collections import Counter

from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from django_jobs import Status
from django_jobs.models import Job, Worker
from django_jobs.status import ENDED

from .polling import Progress, respond

RECENT = 15
# A hundred jobs of one function must not push the others from the page.
RECENT_OF_ONE_KIND = 4


def home(request: HttpRequest) -> HttpResponse:
    context = {"jobs": _recent(), "has_worker": Worker.objects.live().exists(), "stamp": _stamp()}
    return render(request, "website/home.html", context)


def home_status(request: HttpRequest) -> JsonResponse:
    # It never reports `ended`, because other pages may enqueue jobs at any time.
    open_states = [status for status in Status if status not in ENDED]
    open_jobs = Job.objects.filter(status__in=open_states)
    counts = dict(open_jobs.values_list("status").annotate(Count("id")))
    texts = [f"{counts[status]} {status.label}" for status in open_states if status in counts]
    message = f"Now {', '.join(texts)}." if texts else "All jobs have ended."
    return respond(Progress("", message=message, stamp=_stamp()))


def _recent() -> list[Job]:
    fields = ("name", "queue", "status", "retries", "enqueued_at", "error_message", "error_class")
    kept: list[Job] = []
    kinds: Counter[str] = Counter()
    for job in Job.objects.only(*fields).order_by("-id")[: RECENT * 20]:
        kinds[job.name] += 1
        if kinds[job.name] <= RECENT_OF_ONE_KIND:
            kept.append(job)
    return kept[:RECENT]


def _stamp() -> str:
    states = [f"{job.pk.hex[-6:]}{job.status[:3]}{job.retries}" for job in _recent()]
    return f"{Worker.objects.live().exists()} {' '.join(states)}"
