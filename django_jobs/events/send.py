"""Sends events, in the caller's transaction."""

from __future__ import annotations

import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections

from ..conf import DAY, get_settings
from ..db import clock
from ..db.commits import after_commit
from ..define.routing import databases
from ..models import Event
from ..moments import seconds
from ..serialization import dumps, loads, type_of
from .delivery import offer, send_at_once

#: Most characters of an event's name.
LONGEST_NAME = 200


def send_event(
    name: str,
    payload: Any = None,
    *,
    keep: float | datetime.timedelta = DAY,
    broadcast: bool = False,
    using: str = "",
) -> None:
    """Send an event: the job that waits for *name* the longest goes on with *payload*.

    It is part of the caller's transaction: after a rollback nothing was sent. If no job waits, the
    event is kept for *keep* (seconds or a timedelta, by default one day), for the first job that
    waits for it. With *broadcast* all jobs take it: those that wait, and during *keep* those that
    begin to. Each job takes a broadcast once.

    *payload* is JSON, as the arguments of a job are. *using* is the alias of the database with the
    waiting jobs. It can be left out if all queues are on one database.

    Raises ``ValueError`` for an invalid name, *keep* or *using*, and ``ArgumentError`` for a
    payload that cannot be stored as JSON or exceeds ``MAX_PAYLOAD_BYTES``.
    """
    check_name(name)
    kept = seconds(keep, "keep", least=0.0)
    limit = get_settings().max_payload_bytes
    text = dumps(payload, where="the event's payload", max_bytes=limit)
    alias = _database(using)
    value = loads(text)
    if not broadcast and send_at_once(name, value, kept, alias):
        return
    event = Event(
        name=name,
        payload=value,
        broadcast=bool(broadcast),
        sent_at=clock(alias),
        expires_at=clock(alias, kept),
    )
    event.save(using=alias, force_insert=True)
    connection = connections[alias]
    if connection.in_atomic_block or connection.get_autocommit():
        after_commit(alias, offer, event, alias)


asend_event = sync_to_async(send_event)


def check_name(name: object) -> None:
    """Raise ``ValueError`` if *name* cannot be the name of an event."""
    if not isinstance(name, str):
        raise ValueError(f"The name of an event must be a text, got {type_of(name)}.")
    if not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(
            f"The name of an event must have 1 to {LONGEST_NAME} characters, got {len(name)}. "
            "Put a longer value into the payload."
        )
    if not name.isprintable() or name != name.strip():
        raise ValueError(
            "The name of an event must have printable characters, and none of the first and the "
            f"last is a space, got {name!r}."
        )


def _database(using: str) -> str:
    known = databases()
    if using in known:
        return using
    names = ", ".join(map(repr, known))
    if using:
        raise ValueError(
            f"send_event(using=...) must be a database with jobs, one of {names}, got {using!r}."
        )
    if len(known) > 1:
        raise ValueError(
            f"The queues are on several databases: {names}. Name that of the waiting job with "
            "send_event(using=...)."
        )
    return known[0]
