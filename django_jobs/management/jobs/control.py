"""``jobs control``, ``jobs pause``, ``jobs resume`` and ``jobs limit``."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...control import commands, pause_queue, resume_queue
from ...define import registry
from ...limits import overrides
from ...models import Command, Worker
from .output import one_line, served, write_json, write_table
from .selection import live_workers


def control(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    what: str,
    workers: Sequence[str],
    serving: str | None,
    timeout: float,
    bounds: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> None:
    """Send a command, wait for the answers and print them; fail unless all workers did it."""
    targets = live_workers(using, workers, serving)
    if not targets:
        raise CommandError("No worker is alive. Start one with `manage.py runworker`.")
    names = {worker.pk: worker for worker in targets}
    try:
        sent = commands.send(
            what, bounds or arguments, workers=list(names), by=sender(), using=using
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    rows = commands.wait(sent, timeout, using)
    if as_json:
        write_json(out, [_shown(row, names) for row in rows])
    else:
        cells = [(names[row.worker_id].name, _sentence(row, timeout)) for row in rows]
        write_table(out, ("WORKER", "ANSWER"), sorted(cells))
    failed = sum(row.answer is None or "error" in row.answer for row in rows)
    if failed:
        raise CommandError(
            f"{failed} of {len(rows)} workers did not do it; the lines above say why."
        )


def pause(out: OutputWrapper, *, using: str, as_json: bool, queues: Sequence[str]) -> None:
    """Pause queues."""
    _report(out, as_json, gettext_noop("paused"), {
        queue: _tried(lambda queue=queue: pause_queue(queue, by=sender(), using=using))
        for queue in queues
    })  # fmt: skip


def resume(out: OutputWrapper, *, using: str, as_json: bool, queues: Sequence[str]) -> None:
    """Resume paused queues."""
    changed = {queue: resume_queue(queue, using=using) for queue in queues}
    _report(out, as_json, gettext_noop("resumed"), changed)


def limit(
    out: OutputWrapper,
    *,
    using: str,
    as_json: bool,
    name: str,
    rate: str | None,
    concurrency: str | None,
    key: str | None,
) -> None:
    """Set limits of a job function or, if none has that name, of a queue."""
    changes: dict[str, Any] = {}
    if rate is not None:
        changes["rate_limit"] = None if rate == "none" else rate
    if concurrency is not None:
        changes["concurrency"] = None if concurrency == "none" else _whole(concurrency)
    is_function = registry.find(name) is not None
    if key is not None:
        changes["key"] = _json(key)
    try:
        if is_function:
            overrides.set_limits(name, using=using, **changes)
        elif key is not None:
            raise ValueError(f"A queue has no keys. {registry.missing(name)}")
        else:
            overrides.set_queue_limits(name, using=using, **changes)
    except ValueError as error:
        raise CommandError(str(error)) from None
    kind = "job function" if is_function else "queue"
    if as_json:
        write_json(out, {"kind": kind, "name": name, **changes})
    else:
        text = _("job function %s: set") if is_function else _("queue %s: set")
        out.write(one_line(text % name))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"--concurrency must be a whole number or none, got {text!r}.") from None


def sender() -> str:
    """Return the name of the terminal's user and host, for the rows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user in a container may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _tried(action: Any) -> bool:
    try:
        return bool(action())
    except ValueError as error:
        raise CommandError(str(error)) from None


def _report(out: OutputWrapper, as_json: bool, verb: str, changed: Mapping[str, bool]) -> None:
    if as_json:
        write_json(out, {verb: [queue for queue, was in changed.items() if was]})
        return
    for queue, was in changed.items():
        out.write(one_line(f"{queue}: {_(verb if was else _BEFORE[verb])}"))


# The texts for a queue that was not changed.
_BEFORE = {
    "paused": gettext_noop("was paused already"),
    "resumed": gettext_noop("was not paused"),
}


def _shown(row: Command, workers: Mapping[Any, Worker]) -> dict[str, Any]:
    return {
        "worker": workers[row.worker_id].name,
        "worker_id": row.worker_id,
        "command": row.pk,
        "done_at": row.done_at,
        "answer": row.answer,
    }


def _sentence(row: Command, timeout: float) -> str:
    if row.done_at is None:
        text = _("no answer within %s s; the worker will do it as soon as it can")
        return text % f"{timeout:g}"
    answer: dict[str, Any] = row.answer or {}
    if "error" in answer:
        return _("error: %s") % str(answer["error"])
    if "queues" in answer:
        return served(answer["queues"], answer["exclude_queues"])
    return ", ".join(f"{name} {_value(value)}" for name, value in answer.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return "-" if value is None else str(value)
