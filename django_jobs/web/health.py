"""Views for probes, open to everybody if ``HEALTH_URLS`` is true. They name nothing of the site."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..conf import get_settings
from ..define.option_problems import queue_problems
from ..define.routing import database_of, databases
from ..metrics import cache
from ..metrics.health import PARTS, checks, look
from ..moments import range_problems

View = Callable[[HttpRequest], HttpResponse]

#: Seconds for which all requests share a look at a database.
CACHE_SECONDS = 3.0


def _probe(view: View) -> View:
    """Open a view to everybody if the setting says so, outside of ATOMIC_REQUESTS."""

    @wraps(view)
    def probe(request: HttpRequest) -> HttpResponse:
        if not get_settings().health_urls:
            raise Http404("DJANGO_JOBS['HEALTH_URLS'] is not True.")
        return view(request)

    # A transaction would be begun before the view is called, on a database that may be away.
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(probe)
    return login_not_required(require_safe(never_cache(probe)))


@_probe
def live(request: HttpRequest) -> HttpResponse:
    """Return 200: this web process answers. It asks no database."""
    return JsonResponse({"ok": True})


@_probe
def ready(request: HttpRequest) -> HttpResponse:
    """Return 200 if jobs are run and 503 if not, with a bool for each part.

    ``?queue=`` looks at one queue, ``?max_age=`` sets the longest wait of a ready job in seconds.
    A part is None when the database could not tell.
    """
    queue, given = request.GET.get("queue"), request.GET.get("max_age")
    if queue is not None and queue_problems(queue):
        return _refused("queue must be the name of a queue.")
    try:
        max_age = None if given is None else float(given)
    except ValueError:
        return _refused("max_age must be a number of seconds.")
    if max_age is not None and range_problems("max_age", max_age, 0):
        return _refused("max_age must be a number of seconds from 0 to a century.")
    names = databases() if queue is None else [database_of(queue)]
    found = [
        check
        for name in names
        for check in checks(cache.recent(look, name, CACHE_SECONDS), queue or "", max_age)
    ]
    parts = {part: _worst([one.ok for one in found if one.part == part]) for part in PARTS}
    ok = all(parts.values())
    return JsonResponse({"ok": ok, "checks": parts}, status=200 if ok else 503)


def _worst(each: list[bool | None]) -> bool | None:
    if False in each:
        return False
    return None if None in each else True


def _refused(why: str) -> HttpResponse:
    return JsonResponse({"error": why}, status=400)
