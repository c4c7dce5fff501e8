"""The steps of one job, for ``jobs show``."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import OutputWrapper
from django.utils.formats import number_format
from django.utils.translation import ngettext

from ...display.call_text import compact
from ...display.job_text import short_class
from ...display.step_text import ShownStep
from ...display.times import duration, exact
from .output import printable, write_table

_COLUMNS = ("STEP", "STATE", "FUNCTION", "BEGAN", "TOOK", "UNTIL", "RESULT")
_RESULT_WIDTH = 60


def write_steps(out: OutputWrapper, steps: Sequence[ShownStep], left_out: int) -> None:
    """Print a table of the steps, and the errors of those that failed."""
    if not steps:
        return
    out.write("")
    if left_out:
        text = ngettext(
            "%(number)s earlier step is not shown.",
            "%(number)s earlier steps are not shown.",
            left_out,
        )
        out.write(text % {"number": number_format(left_out, force_grouping=True)})
    write_table(out, _COLUMNS, [_cells(step) for step in steps])
    for step in steps:
        if step.error_class:
            out.write(printable(f"\n{step.key}: {step.traceback or _error(step)}"))


def _cells(step: ShownStep) -> list[object]:
    result = "" if step.result is None else compact(step.result)
    if len(result) > _RESULT_WIDTH:
        result = f"{result[: _RESULT_WIDTH - 1]}…"
    error = f"{short_class(step.error_class)}" if step.error_class else ""
    until = exact(step.waits_until) if step.waits_until else ""
    return [
        step.key, step.state, step.what, exact(step.began_at), duration(step.took), until,
        result or error,
    ]  # fmt: skip


def _error(step: ShownStep) -> str:
    return ": ".join(part for part in (step.error_class, step.error_message) if part)
