"""A worker does what the command rows tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ..dialects import clock
from ..models import Command


def obey(
    worker_id: UUID, using: str, handlers: Mapping[str, Callable[[dict[str, Any]], Any]]
) -> int:
    """Do each open command for this worker once, in order; return how many there were.

    A command without a handler is answered with an error, as is one whose handler raises.
    """
    commands = list(
        Command.objects.using(using).filter(worker_id=worker_id, done_at=None).order_by("id")
    )
    for command in commands:
        handler = handlers.get(command.name)
        try:
            if handler is None:
                raise LookupError(f"no such command; known are {', '.join(sorted(handlers))}")
            answer = handler(command.arguments)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        Command.objects.using(using).filter(id=command.pk).update(
            done_at=clock(using), answer=answer
        )
    return len(commands)
