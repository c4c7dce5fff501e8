"""A job in a canvas inherits options from the canvases around it and from the caller."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from ..define.canvas import CALLBACKS, Canvas, stored_errbacks
from ..define.fitting import check_errback

# Options of a canvas that hold for its first jobs.
START = ("countdown", "eta")
# Options of one call that cannot be a default for several calls.
_SINGLE = (*CALLBACKS, *START, "task_id", "durable")

#: An errback, and the place of the first job whose failure it handles (None: the job that carries
#: it).
Errback: TypeAlias = tuple[Canvas, str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """The caller's arguments for the first jobs: positional ones come before the jobs' own."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Around:
    """The options that a job inherits from the canvases around it."""

    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    errbacks: Sequence[Errback] = ()
    group_id: UUID | None = None
    #: For the body of a chord: the place of the header's first job. The body's own errbacks handle
    #: the header's failure, too.
    since: str | None = None

    def own_errbacks(self, options: Mapping[str, Any]) -> list[Errback]:
        """Return the errbacks of a canvas with these *options*."""
        errbacks = stored_errbacks(options)
        for errback in errbacks:
            check_errback(errback)
        return [(errback, self.since) for errback in errbacks]

    def inside(self, options: Mapping[str, Any]) -> Around:
        """Return what the parts of a canvas with these *options* inherit."""
        if not options:
            return self
        start = {key: options[key] for key in START if options.get(key) is not None}
        return dataclasses.replace(
            self,
            defaults={
                **self.defaults,
                **{key: value for key, value in options.items() if key not in _SINGLE},
            },
            start=start or self.start,
            errbacks=[*self.own_errbacks(options), *self.errbacks],
        )
