"""The headers that jobs get without ``headers=``: of the setting ``HEADERS`` and of the parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .. import serialization
from ..conf import get_settings
from ..exceptions import ArgumentError
from ..serialization import type_of
from . import instrumentation
from .current import running
from .dotted_paths import import_problem


def implied_headers() -> Mapping[str, Any]:
    """Return the headers of a job that is enqueued here and now, without those of its call.

    The callables of ``HEADERS`` override the headers of the running job, and later callables the
    earlier ones. Without the setting it returns no headers. Raises ``ImproperlyConfigured`` when a
    callable cannot be imported, raises an exception, or returns no dict of JSON.
    """
    paths = get_settings().headers
    if not paths:
        return {}
    parent = running.get()
    headers = inherited(parent.request.headers) if parent is not None else {}
    for path in paths:
        headers |= _headers_of(path)
    return headers


def inherited(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a job's *headers* that the jobs which it causes inherit.

    Without ``HEADERS`` they inherit none, and never those of the instrumentation.
    """
    if not get_settings().headers:
        return {}
    own = {name for each in instrumentation.instrumentations for name in each.header_names()}
    return {name: value for name, value in headers.items() if name not in own}


def causing() -> bool:
    """Return whether a job's headers matter to the jobs that its end enqueues."""
    return bool(get_settings().headers or instrumentation.instrumentations)


def _headers_of(path: str) -> dict[str, Any]:
    if problem := import_problem("HEADERS", path):
        raise ImproperlyConfigured(f"{problem} Name a function without arguments.")
    limit = get_settings().max_payload_bytes
    try:
        headers = import_string(path)()
    except Exception as error:
        # Without its message, which may quote what the function read.
        raise ImproperlyConfigured(
            f"{path}(), which HEADERS names, raised {type(error).__name__}. Let it return an empty "
            "dict when it has nothing to add."
        ) from error
    if not isinstance(headers, Mapping):
        raise ImproperlyConfigured(
            f"{path}(), which HEADERS names, returned {type_of(headers)}. Let it return a dict of "
            "JSON."
        )
    headers = dict(headers)
    try:
        serialization.dumps(headers, where="the dict", max_bytes=limit)
    except ArgumentError as error:
        raise ImproperlyConfigured(
            f"{path}(), which HEADERS names, returned a dict that is no JSON. {error}"
        ) from error
    return headers
