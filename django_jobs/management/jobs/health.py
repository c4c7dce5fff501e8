"""``jobs health``: whether jobs are run, for people, for scripts and for probes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import Error
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...define.option_problems import queue_problems
from ...define.routing import database_of, databases
from ...metrics import known_names
from ...metrics.health import Check, all_ok, checks, look
from .output import write_json, write_table

_WORDS = {True: gettext_noop("ok"), False: gettext_noop("failed"), None: gettext_noop("unknown")}


def show(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    queue: str | None,
    max_age: float | None,
    warn: Callable[[str], object],
) -> None:
    """Print a line for each part; raise ``CommandError`` unless all are well.

    It looks at the database of *queue*, or at all databases with jobs.
    """
    for problem in queue_problems(queue) if queue is not None else ():
        raise CommandError(f"--queue: {problem}")
    names = [using] if using else [database_of(queue)] if queue else databases()
    found = {name: checks(look(name), queue or "", max_age) for name in names}
    if as_json:
        parts = {name: {one.part: _told(one) for one in each} for name, each in found.items()}
        ok = all(all_ok(each) for each in found.values())
        write_json(out, {"ok": ok, "databases": parts})
    else:
        rows = [(name, one) for name, each in found.items() for one in each]
        write_table(out, ("DATABASE", "CHECK", "STATE", "WHY"), [_cells(*row) for row in rows])
    if queue:
        _warn_of_unknown(queue, names[0], found, warn)
    if wrong := [f"{one.part} of {name}" for name, each in found.items() for one in each
                 if not one.ok]:  # fmt: skip
        raise CommandError(f"Not healthy: {', '.join(wrong)}.")


def _cells(name: str, check: Check) -> tuple[object, ...]:
    return name, _(check.part), _(_WORDS[check.ok]), _(check.text) % check.values


def _told(check: Check) -> dict[str, Any]:
    return {**check.values, "ok": check.ok, "why": check.text % check.values}


def _warn_of_unknown(
    queue: str, using: str, found: dict[str, list[Check]], warn: Callable[[str], object]
) -> None:
    if found[using][1].ok is not True:  # the tables cannot be read
        return
    with contextlib.suppress(Error):
        for warning in known_names.unknown_queues([queue], using):
            warn(f"warning: {warning}")
