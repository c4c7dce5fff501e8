"""Pages that refresh themselves, and the page to return to after a button.

The script ``auto_refresh.js`` sends a header to get only the parts of its page that may change.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag, url_has_allowed_host_and_scheme

#: For the ``Media`` of an admin whose pages refresh themselves.
REFRESH_SCRIPT = Script("django_jobs/auto_refresh.js", defer=True)
#: Keys, and the list of them.
KEYS_SCRIPT = Script("django_jobs/keys.js", defer=True)
#: Tooltips of charts, by pointer, touch and keyboard.
CHART_SCRIPT = Script("django_jobs/charts.js", defer=True)
#: Adds a button that copies it to each text with ``data-copy``.
COPY_SCRIPT = Script("django_jobs/copy.js", defer=True)
#: The header of the script; without it, the whole page is sent.
HEADER = "X-Jobs-Refresh"
# The text of an element whose age the script counts: it says no more than the attributes before it.
_TICKING = re.compile(r'(<time data-(?:age|since="[^"]*") datetime="[^"]*")[^>]*>[^<]*')
# Django masks the token of forms anew at each request.
_TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]*')


def page_or_parts(
    request: HttpRequest, page: str, part: str, context: dict[str, Any]
) -> HttpResponse:
    """Render the template *page*; for the script, only the template *part* that *page* includes.

    The answer is a 304 without a body when the part is still the one that the script has.
    """
    if HEADER not in request.headers:
        response: HttpResponse = TemplateResponse(request, page, context)
    else:
        response = parts_response(request, part, context)
    patch_vary_headers(response, [HEADER])
    return response


def parts_response(request: HttpRequest, part: str, context: dict[str, Any]) -> HttpResponse:
    html = render_to_string(part, context, request)
    # If only ages differ, only time has passed.
    lasting = _TOKEN.sub(rf"\g<1>{_secret(request)}", _TICKING.sub(r"\1", html))
    etag = quote_etag(hashlib.sha256(lasting.encode()).hexdigest()[:32])
    response = HttpResponse(html, headers={"ETag": etag})
    return get_conditional_response(request, etag=etag, response=response) or response


def _secret(request: HttpRequest) -> str:
    """Return what stays the same in a session's tokens of forms."""
    return str(request.META.get("CSRF_COOKIE") or "")


def list_or_parts(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return *response*, a list of the admin; for the script, only its tabs, search and rows."""
    context = getattr(response, "context_data", None) or {}
    if "cl" in context:
        if HEADER in request.headers:
            response = parts_response(request, "admin/django_jobs/list_parts.html", context)
        patch_vary_headers(response, [HEADER])
    return response


def page_to_return_to(request: HttpRequest) -> str:
    """Return the address of the page with the pressed button; empty if it is another site's."""
    wanted = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if ours else ""
