"""The bar of the reasons why jobs wait."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext_lazy

from ..metrics.capped_count import CappedCount
from ..metrics.waiting import Kind
from ..status import Status


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A reason in the bar: its text, and the status of the jobs."""

    label: Any
    status: Status
    #: The class of its colour in the style sheet, which two kinds may share.
    hue: str
    is_second: bool = False


_KINDS = {
    Kind.QUEUED: _Kind(gettext_lazy("for a free slot"), Status.PENDING, "pending"),
    Kind.PAUSED: _Kind(gettext_lazy("for a paused queue"), Status.PENDING, "retry"),
    Kind.NO_WORKER: _Kind(gettext_lazy("for a worker of the queue"), Status.PENDING, "failure"),
    Kind.CONCURRENCY: _Kind(gettext_lazy("for a concurrency limit"), Status.WAITING, "started"),
    Kind.RATE: _Kind(gettext_lazy("for a rate limit"), Status.SCHEDULED, "started", True),
    Kind.DEPENDENCIES: _Kind(gettext_lazy("for other jobs"), Status.WAITING, "waiting"),
    Kind.EVENT: _Kind(gettext_lazy("for an event or a person"), Status.WAITING, "waiting", True),
    Kind.TIME: _Kind(gettext_lazy("for their time"), Status.SCHEDULED, "scheduled"),
    Kind.RETRY: _Kind(gettext_lazy("for their next attempt"), Status.RETRY, "retry", True),
    Kind.DEFERRED: _Kind(
        gettext_lazy("for a worker that can run them"), Status.SCHEDULED, "failure", True
    ),
}


def parts_of(
    waiting: Mapping[Kind, CappedCount], address: Callable[..., str]
) -> list[dict[str, Any]]:
    """Return the parts of the bar that are not empty; *address* takes filters of the job list."""
    numbers = [(_KINDS[kind], number) for kind, number in waiting.items() if number]
    every, before, parts = sum(number for _kind, number in numbers), 0.0, []
    for kind, number in numbers:
        width = 100 * number / every
        parts.append({
            "label": kind.label, "number": str(number), "url": address(status=kind.status),
            "hue": f"jobs-{kind.hue}{' jobs-second' if kind.is_second else ''}",
            # The template engine would localize numbers.
            "x": f"{before:.2f}", "width": f"{width:.2f}",
        })  # fmt: skip
        before += width
    return parts
