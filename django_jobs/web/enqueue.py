"""Enqueues a job for a program that signs its request; off without ``ENQUEUE_URL``.

The signature is the HMAC-SHA256 of the timestamp, a dot and the body, in hex digits. The id of a
job is derived from the signature, so that a request that is sent again finds its job.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from ..api.result import AsyncResult
from ..conf import get_settings
from ..define import registry
from ..define.conversion import refuse_misfits
from ..define.hidden_arguments import rules_of_function
from ..define.json_body import CALL, CALL_OPTIONS, bounded_body, read_fields
from ..define.retention import keep_seconds
from ..define.sensitive import shown_arguments
from ..exceptions import ArgumentError, DuplicateKey, EncryptionError, JobDoesNotExist, QueueFull
from ..ids import derived
from ..status import Status

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: A request is refused whose timestamp is further than this from the clock of the server, in
#: seconds. Until then the row of its job must be kept, or the request could be sent again.
WINDOW = 300
# Bytes of a request besides the arguments: names, queue and headers.
_ROOM = 16 * 1024
_FIELDS = {**CALL, "id": (str,)}


class _Refused(Exception):
    """The request is answered with *status* and an error."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


@csrf_exempt  # it is not a browser that signs
@login_not_required
@never_cache
def enqueue(request: HttpRequest) -> JsonResponse:
    """Enqueue the call in the body; 201 with the job's id, or 200 if it was enqueued before."""
    if not get_settings().enqueue_url:
        raise Http404("DJANGO_JOBS['ENQUEUE_URL'] is empty.")
    if request.method != "POST":
        response = _answer(405, error="send a POST")
        response["Allow"] = "POST"
        return response
    try:
        return _enqueued(*_read(request))
    except _Refused as refused:
        return _answer(refused.status, error=str(refused))


@sensitive_variables()
def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request: 64 hex digits."""
    text = timestamp.encode() + b"." + body
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def _read(request: HttpRequest) -> tuple[UUID, Mapping[str, Any]]:
    """Return the id of the job and the fields of the body, or refuse the request."""
    limit = get_settings().max_payload_bytes + _ROOM
    body = bounded_body(request, limit)
    if body is None:
        raise _Refused(413, f"the body must have at most {limit:,} bytes")
    timestamp = request.headers.get("X-Jobs-Timestamp", "")
    signature = request.headers.get("X-Jobs-Signature", "")
    if not _is_signed(timestamp, signature, body):
        raise _Refused(401, "the signature is missing or wrong")
    # This comes second: only a program that can sign learns that the clocks differ.
    sent = int(timestamp) if re.fullmatch(r"[0-9]{1,12}", timestamp) else -1
    if abs(time.time() - sent) > WINDOW:
        raise _Refused(
            401, f"the timestamp must be seconds since 1970, {WINDOW} s from now at most"
        )
    try:
        fields = read_fields(body, _FIELDS)
    except ValueError as error:
        raise _Refused(400, str(error)) from None
    if "job" not in fields:
        raise _Refused(400, "job must be the name of a job function")
    if "id" in fields:
        return _uuid(fields["id"]), fields
    first = UUID(int=sent * 1000 << 80 | 0x7 << 76)
    return derived(first, signature), fields


@sensitive_variables()
def _is_signed(timestamp: str, signature: str, body: bytes) -> bool:
    secrets = get_settings().enqueue_url.get("SECRETS", ())
    good = [constant_time_compare(sign(each, timestamp, body), signature) for each in secrets]
    # All secrets were tried: the time does not tell which one is right.
    return any(good)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _Refused(400, "id must be a UUID, best of version 7") from None


def _enqueued(wanted: UUID, fields: Mapping[str, Any]) -> JsonResponse:
    function = _function(fields["job"])
    args, kwargs = fields.get("args", []), fields.get("kwargs", {})
    options = {name: fields[name] for name in CALL_OPTIONS if name in fields}
    try:
        refuse_misfits(function, args, kwargs)
        result = function.apply_async(args, kwargs, task_id=str(wanted), **options)
    except QueueFull:
        response = _answer(503, error="the queue is full")
        response["Retry-After"] = "60"
        return response
    except EncryptionError:
        raise _Refused(503, "the job cannot be encrypted") from None
    except DuplicateKey:
        return _known(wanted, function.name)
    except (ArgumentError, TypeError, ValueError) as error:
        shown = shown_arguments(rules_of_function(function), args, kwargs)
        raise _Refused(400, shown.text(str(error))) from None
    created = result.uuid == wanted
    return _answer(201 if created else 200, id=str(result.id), created=created)


def _function(name: str) -> JobFunction[..., Any, Any]:
    """Return the job function; refuse one that is unknown just as one that is not allowed."""
    allowed = get_settings().enqueue_url.get("JOBS", ())
    function = registry.find(name)
    is_allowed = any(fnmatchcase(name, glob) for glob in allowed)
    if function is None or not is_allowed or name in registry.INTERNAL:
        raise _Refused(403, "this job is not allowed here")
    kept = [keep_seconds(function, status) for status in (Status.SUCCESS, Status.FAILURE)]
    if any(seconds is not None and seconds < 2 * WINDOW for seconds in kept):
        raise _Refused(
            403,
            f"rows of this job are kept for less than {2 * WINDOW} s, so that a request that is "
            "sent again would not find its job",
        )
    return function


def _known(wanted: UUID, name: str) -> JsonResponse:
    """Answer a request whose job exists, or whose unique key another job holds."""
    try:
        same = AsyncResult(wanted).job.name == name
    except JobDoesNotExist:
        same = False
    if not same:
        raise _Refused(409, "another job has this id or this unique key")
    return _answer(200, id=str(wanted), created=False)


def _answer(status: int, **content: Any) -> JsonResponse:
    return JsonResponse(content, status=status)
