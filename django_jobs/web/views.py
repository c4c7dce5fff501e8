"""The metrics and the state of one job. Both check who may read them."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..api import signed_urls
from ..api.result import AsyncResult
from ..conf import get_settings
from ..exceptions import JobDoesNotExist
from .state import state_of


@login_not_required  # both views check the request themselves
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics; needs ``METRICS_TOKEN`` or the permission ``view_measurement``."""
    if not (_has_token(request) or _may(request, "django_jobs.view_measurement")):
        response = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", "text/plain", 401)
        response["WWW-Authenticate"] = 'Bearer realm="django_jobs"'
        return response
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        from ..metrics.prometheus import JobsCollector
    except ImportError:
        text = "The metrics need the package prometheus-client: install the extra 'prometheus'.\n"
        return HttpResponse(text, "text/plain", 503)
    registry = CollectorRegistry()
    registry.register(JobsCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = HttpResponse(encode(registry), content_type)
    patch_vary_headers(response, ["Accept", "Authorization"])
    return response


@login_not_required
@require_safe
@never_cache
def status(request: HttpRequest, job_id: UUID) -> JsonResponse:
    """Return the state of one job; needs a token of ``status_url()`` or ``view_job``.

    The result is shown only if the token says so.
    """
    ticket = signed_urls.read(request.GET.get("token", ""), job_id)
    if ticket is None and not _may(request, "django_jobs.view_job"):
        return JsonResponse({"error": "this address is invalid or has expired"}, status=403)
    try:
        job = AsyncResult(job_id).job
    except JobDoesNotExist:
        return JsonResponse({"error": "there is no such job"}, status=404)
    return JsonResponse(state_of(job, shows_result=ticket is not None and ticket.shows_result))


def _has_token(request: HttpRequest) -> bool:
    token = get_settings().metrics_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if not token or scheme.lower() != "bearer":
        return False
    return constant_time_compare(given, token)


def _may(request: HttpRequest, permission: str) -> bool:
    user = getattr(request, "user", None)
    return user is not None and user.is_active and user.has_perm(permission)
