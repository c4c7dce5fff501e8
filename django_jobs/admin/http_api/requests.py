"""Requests of programs: their users, the fields of their bodies, and refusals as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.utils import translation
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.views.decorators.debug import sensitive_variables

from ...conf import get_settings
from ...control import tokens
from ...define.json_body import Kinds, bounded_body, read_fields

# Bytes of a body besides the arguments: names, ids and options.
_ROOM = 1024 * 1024


NONE = type(None)
#: The kinds of a value that may be any JSON.
ANY: tuple[type, ...] = (str, int, float, bool, list, dict, type(None))


@dataclasses.dataclass(frozen=True, slots=True)
class JsonAction:
    """An action and the fields of its body."""

    #: For the OpenAPI file.
    summary: str
    #: Takes the admin, the request and the fields; returns the data of the answer.
    run: Callable[[Any, HttpRequest, dict[str, Any]], Any]
    fields: Kinds
    needed: tuple[str, ...] = ()
    #: Two fields of which it needs one.
    either: tuple[str, ...] = ()


class Refused(Exception):
    """Answers the request with *status* and an error that says what to do."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def answer(request: HttpRequest, made: Callable[[], Any]) -> JsonResponse:
    """Return the data of *made* as JSON, in English; a refusal is JSON, too."""
    headers: dict[str, str] = {}
    with translation.override(None):
        try:
            status, content = 200, made()
        except Refused as refused:
            status, content = refused.status, {"error": str(refused)}
            headers |= refused.headers
        except PermissionDenied:
            status, content = 403, {"error": "the user lacks the permission for this"}
        except Http404 as error:
            status, content = 404, {"error": str(error) or "there is no such row"}
        except (IncorrectLookupParameters, DisallowedModelAdminLookup):
            status, content = 400, {"error": "a filter has an invalid name or value"}
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="django_jobs"'
        response = JsonResponse(content, status=status, headers=headers)
    add_never_cache_headers(response)
    patch_vary_headers(response, ["Authorization", "Cookie"])
    return response


def check_reader(request: HttpRequest, site: AdminSite) -> None:
    """Refuse a request whose token or session does not let its user into the admin."""
    if "Authorization" in request.headers:
        check_token(request, site)
    elif not site.has_permission(request):
        raise Refused(401, "log in to the admin, or send a token: Authorization: Bearer TOKEN")


@sensitive_variables()
def check_token(request: HttpRequest, site: AdminSite) -> None:
    """Make the user of the token the request's, or refuse the request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not get_settings().api_tokens:
        raise Refused(401, "tokens are off: set DJANGO_JOBS['API_TOKENS'] = True")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "send a token: Authorization: Bearer TOKEN")
    user = tokens.user_of(token.strip())
    if user is None:
        raise Refused(
            401,
            "the token is unknown, expired or revoked, or its user is not active: make one with "
            "manage.py jobs token make",
        )
    request.user = user
    if not site.has_permission(request):
        raise Refused(403, "the token's user may not enter the admin: set is_staff")


def fields_of(request: HttpRequest, action: JsonAction) -> dict[str, Any]:
    """Return the fields of the body, or refuse the request."""
    limit = get_settings().max_payload_bytes + _ROOM
    body = bounded_body(request, limit)
    if body is None:
        raise Refused(413, f"the body must have at most {limit:,} bytes")
    try:
        fields = read_fields(body if body.strip() else b"{}", action.fields, action.needed)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    if action.either and not any(name in fields for name in action.either):
        raise Refused(400, f"give {', '.join(action.either)} or both")
    return fields


def texts(fields: dict[str, Any], name: str, most: int) -> list[str]:
    """Return an array of 1 to *most* texts, each once."""
    values = fields[name]
    if not 1 <= len(values) <= most or not all(isinstance(each, str) for each in values):
        raise Refused(400, f"{name} must be an array of 1 to {most:,} texts")
    if not all(map(_is_storable, values)):
        raise Refused(400, f"{name} must not have NUL or half of a surrogate pair")
    return list(dict.fromkeys(values))


def _is_storable(text: str) -> bool:
    """Say whether a database takes the text; JSON has some that none takes."""
    return not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text)
