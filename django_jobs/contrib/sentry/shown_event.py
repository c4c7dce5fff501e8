"""Events of Sentry without the secrets of the job that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ...redaction import NO_SECRETS, Secrets

# These parts hold nothing of a job's arguments, or are ids that a short secret might be a part of.
_KEPT = frozenset({
    "event_id", "type", "level", "platform", "timestamp", "start_timestamp", "transaction",
    "transaction_info", "release", "environment", "dist", "server_name", "sdk", "modules",
    "fingerprint", "measurements", "_metrics_summary", "exception", "threads", "contexts",
    "breadcrumbs", "spans",
})  # fmt: skip
# The texts of a breadcrumb and of a span that code of the project has written.
_WRITTEN = ("message", "description", "data", "tags")
_IDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_OWN_CONTEXTS = frozenset({"job", "runtime", "os", "device"})
_OWN_TAGS = ("job", "queue", "attempt")


# Frames of the package have arguments and rows of jobs. So have the frames that these parts of it
# call: a driver's have the parameters of a statement.
_PACKAGE = __name__.split(".")[0]
_WITH_ROWS = tuple(f"{_PACKAGE}.{part}." for part in ("db", "enqueue"))


class Hidden(Protocol):
    """An object that knows the secrets of a job."""

    @property
    def secrets(self) -> Secrets: ...


def without_secrets(hidden: Hidden, event: Any, hint: Any) -> Any:
    """Return *event* without the secrets, or None after an error: an event processor of Sentry's.

    If the job has secrets, the event has no local variables: one may hold a part of a secret.
    """
    try:
        return event if hidden.secrets is NO_SECRETS else _cleaned(event, hidden.secrets)
    except Exception:  # Sentry would send the event as it was
        return None


def without_own_variables(event: Any, hint: Any) -> Any:
    """Return *event* without the local variables of the package: an event processor of Sentry's.

    A view that cannot enqueue has an event, too.
    """
    for part in ("exception", "threads"):
        chain = [_frames(value.get("stacktrace")) for value in _values(event.get(part))]
        is_enqueue = any(_is_in(_WITH_ROWS, frame) for frames in chain for frame in frames)
        for frames in chain:
            # The frames of a driver's error, a cause, begin inside of the statement.
            hides = is_enqueue and not any(_is_in((f"{_PACKAGE}.",), frame) for frame in frames)
            for frame in frames:
                hides = hides or _is_in(_WITH_ROWS, frame)
                if hides or _is_in((f"{_PACKAGE}.",), frame):
                    frame.pop("vars", None)
    return event


def _is_in(packages: tuple[str, ...], frame: Mapping[str, Any]) -> bool:
    return f"{frame.get('module') or ''}.".startswith(packages)


def _cleaned(event: Any, secrets: Secrets) -> Any:
    own = {tag: value for tag, value in _tags(event).items() if tag in _OWN_TAGS}
    for key in event.keys() - _KEPT:
        event[key] = _blanked(event[key], secrets)
    if own:
        event["tags"] = {**_tags(event), **own}
    for name, context in event.get("contexts", {}).items():
        if name not in _OWN_CONTEXTS:
            event["contexts"][name] = _blanked(context, secrets)
    for part in ("breadcrumbs", "spans"):
        for value in _values(event.get(part)):
            value.update({key: _blanked(value[key], secrets) for key in _WRITTEN if key in value})
    for part in ("exception", "threads"):
        for value in _values(event.get(part)):
            if value.get("value"):
                value["value"] = secrets.blanked(str(value["value"]))
            trace = value.get("stacktrace")
            for frame in _frames(trace):
                frame.pop("vars", None)
    return event


def _tags(event: Any) -> dict[str, Any]:
    tags = event.get("tags") or {}
    return dict(tags)


def _values(part: Any) -> list[dict[str, Any]]:
    values = part.get("values", []) if isinstance(part, Mapping) else part
    return [value for value in values or [] if isinstance(value, dict)]


def _frames(trace: Any) -> list[dict[str, Any]]:
    frames = trace.get("frames") if isinstance(trace, Mapping) else None
    return [frame for frame in frames or [] if isinstance(frame, dict)]


def _blanked(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return secrets.blanked(value)
    if isinstance(value, Mapping):
        return {
            _blanked(key, secrets): item if key in _IDS else _blanked(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_blanked(item, secrets) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # A number may be a secret; other numbers stay numbers.
        return value if secrets.blanked(str(value)) == str(value) else secrets.blanked(str(value))
    return value
