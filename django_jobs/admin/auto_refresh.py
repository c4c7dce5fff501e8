"""Pages that renew themselves, and the way back from their buttons.

The script ``live.js`` asks for the changing part of its page by a header.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag, url_has_allowed_host_and_scheme

#: For the ``Media`` of an admin whose pages renew themselves.
LIVE_SCRIPT = Script("django_jobs/live.js", defer=True)
#: Shows a button to copy beside each text that is marked for it.
COPY_SCRIPT = Script("django_jobs/copy.js", defer=True)
#: What the script sends; without it the whole page is the answer.
HEADER = "X-Jobs-Live"


def live_response(
    request: HttpRequest, page: str, part: str, context: dict[str, Any]
) -> HttpResponse:
    """Render the template *page*, or for the script only *part*, which *page* includes.

    A part that has not changed since the script's last look is a 304 without a body.
    """
    if HEADER not in request.headers:
        response: HttpResponse = TemplateResponse(request, page, context)
    else:
        response = live_part(request, part, context)
    patch_vary_headers(response, [HEADER])
    return response


def live_part(request: HttpRequest, part: str, context: dict[str, Any]) -> HttpResponse:
    html = render_to_string(part, context, request)
    etag = quote_etag(hashlib.sha256(html.encode()).hexdigest()[:32])
    response = HttpResponse(html, headers={"ETag": etag})
    return get_conditional_response(request, etag=etag, response=response) or response


def live_list(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return *response*, a list of the admin, or for the script only its rows and what is above."""
    context = getattr(response, "context_data", None) or {}
    if "cl" in context:
        if HEADER in request.headers:
            response = live_part(request, "admin/django_jobs/list_live.html", context)
        patch_vary_headers(response, [HEADER])
    return response


def page_to_return_to(request: HttpRequest) -> str:
    """Return the page whose button was pressed, or nothing if it is not of this site."""
    wanted = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if ours else ""
