"""The failure of a job that did not run because a parent did not succeed.

Only this module writes and reads the text of such a failure.
"""

from __future__ import annotations

import re
from uuid import UUID

from ..exceptions import UpstreamFailed
from ..status import Status

#: ``Job.error_class`` of these jobs.
UPSTREAM_FAILED = f"{UpstreamFailed.__module__}.{UpstreamFailed.__qualname__}"
_ORIGIN = re.compile(r"job ([0-9a-f-]{36}) \(")
_CAUSE = re.compile(r"job [0-9a-f-]{36} \((.+?)\) (?:was revoked|failed(?:: ([^\s:]+))?)")


def upstream_message(
    origin_id: UUID, name: str, status: str, error_class: str = "", message: str = ""
) -> str:
    """Return ``Job.error_message`` of the jobs that depended on *origin_id*."""
    state = "was revoked" if status == Status.REVOKED else "failed"
    why = ": ".join(part for part in (error_class, message) if part)
    return f"job {origin_id} ({name}) {state}{f': {why}' if why else ''}"


def origin_of(message: str) -> UUID | None:
    """Return the id of the job that an :func:`upstream_message` names; None for another text."""
    named = _ORIGIN.match(message)
    return UUID(named[1]) if named else None


def cause_of(message: str) -> tuple[str, str] | None:
    """Return the job function and the class of error that an :func:`upstream_message` names.

    The class is empty if the job was revoked. Another text has no cause.
    """
    named = _CAUSE.match(message)
    return (named[1], named[2] or "") if named else None
