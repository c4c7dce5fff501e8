"""The steps of one job, for its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from django.utils.formats import number_format
from django.utils.safestring import SafeString

from ..display.call_text import compact
from ..display.job_text import short_class
from ..display.step_text import ShownStep, steps_of, what
from ..display.times import duration
from ..metrics.step_numbers import StepNumbers
from ..models import Job, Step
from ..status import Status
from .badges import ICONS, badge, moment
from .job_fields import json_shown, payload_of
from .tracebacks import Part, parts

# Longer results are folded.
_LINE = 60
_BADGES = {
    Step.State.DONE: Status.SUCCESS,
    Step.State.FAILED: Status.FAILURE,
    Step.State.RETRY: Status.RETRY,
    Step.State.WAITING: Status.WAITING,
    Step.State.OPEN: Status.STARTED,
}


@dataclasses.dataclass(frozen=True, slots=True)
class StepRow:
    """One step as the page shows it."""

    key: str
    #: A key that is unique on the page.
    anchor: str
    what: str
    state: SafeString
    began: SafeString
    took: str
    waits_until: SafeString | None
    #: The begin of the result, and all of it if that is longer.
    result_line: str
    result: SafeString | None
    error: str
    message: str
    traceback: Sequence[Part]


def shown_steps(job: Job) -> tuple[list[StepRow], int]:
    """Return the job's last steps in their order, and how many come before them."""
    steps, left_out = steps_of(job, payload_of(job))
    return [_row(step) for step in steps], left_out


def step_row(numbers: StepNumbers) -> dict[str, str]:
    """Return the numbers of one step of a job function as the function's page shows them."""
    counts = {"done": numbers.done, "failed": numbers.failed, "waiting": numbers.waiting}
    return {
        "name": what(numbers.kind, numbers.function),
        **{name: number_format(count, force_grouping=True) for name, count in counts.items()},
        "p50": duration(numbers.percentile(0.5)) or "–",
        "p95": duration(numbers.percentile(0.95)) or "–",
        "longest": duration(numbers.percentile(1.0)) or "–",
    }


def _row(step: ShownStep) -> StepRow:
    status = _BADGES.get(Step.State(step.state)) if step.state in Step.State.values else None
    kind = status or Status.REVOKED
    line = "" if step.result is None else compact(step.result)
    return StepRow(
        key=step.key,
        anchor=f"step-{step.position}",
        what=step.what,
        state=badge(kind.lower(), ICONS[kind], step.state_label),
        began=moment(step.began_at, precise=True),
        took=duration(step.took) or "–",
        waits_until=moment(step.waits_until, precise=True) if step.waits_until else None,
        result_line=line if len(line) <= _LINE else f"{line[: _LINE - 1]}…",
        result=json_shown(step.result) if len(line) > _LINE else None,
        error=short_class(step.error_class),
        message=step.error_message,
        traceback=parts(step.traceback),
    )
