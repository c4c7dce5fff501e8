"""Gives events to the jobs that wait for them; the package's docstring has the argument."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Q, QuerySet

from ..db import clock, dialect_for, without_deadlock
from ..db.commits import after_commit
from ..models import Event, EventWait
from .ending import End, end_waits, result_text

#: Jobs that one transaction lets go on with a broadcast.
BATCH = 200


def send_at_once(name: str, payload: Any, keep: float, using: str) -> bool:
    """Insert an event that one job takes, and offer it; return False if nothing was done.

    PostgreSQL does both in one round trip, outside of transactions.
    """
    text: str | None = Event._meta.get_field("payload").get_prep_value(payload)
    result = result_text(payload, encrypt=False)
    sent = dialect_for(connections[using]).send_event(name, text, result, keep)
    if sent is None:
        return False
    event_id, is_over = sent
    if not is_over:
        event = Event(pk=event_id, name=name, payload=payload, broadcast=False)
        after_commit(using, offer, event, using)
    return True


def offer(event: Event, using: str) -> None:
    """Give a new event to the jobs that wait for it."""
    waits = EventWait.objects.using(using).filter(name=event.name).order_by("id")
    batch, last = BATCH if event.broadcast else 1, 0
    while found := list(waits.filter(id__gt=last)[:batch]):
        last = found[-1].pk
        others = [wait for wait in found if event.pk not in wait.seen]
        if others and _give(event, others, using).is_gone:
            return
    # A job whose wait is committed after this look will look itself.
    Event.objects.using(using).filter(pk=event.pk).update(is_new=False)


def look(wait: EventWait, using: str) -> None:
    """Give the oldest event that is kept to a new *wait*, if there is one."""
    kept, last = _kept(wait.name, wait.seen, using), 0
    while (event := kept.filter(id__gt=last).first()) is not None:
        last = event.pk
        given = _give(event, [wait], using)
        if given.ended or not given.is_gone:
            return  # the wait is over
    # An event that is committed after this look will be offered.
    EventWait.objects.using(using).filter(pk=wait.pk).update(is_new=False)


def take_kept(name: str, seen: Sequence[int], using: str) -> Event | None:
    """Take the oldest event that is kept, for a job without a row; None if there is none."""
    with transaction.atomic(using):
        event = _kept(name, seen, using).select_for_update().first()
        if event is not None and not event.broadcast:
            Event.objects.using(using).filter(pk=event.pk)._raw_delete(using)
    return event


def _kept(name: str, seen: Sequence[int], using: str) -> QuerySet[Event]:
    """Return the events that a wait may take, the oldest first; *seen* are ids that it may not."""
    events = Event.objects.using(using).filter(name=name).order_by("id")
    kept = events.filter(Q(is_new=True) | Q(expires_at__gt=clock(using)))
    return kept.exclude(id__in=seen) if seen else kept


class _Given(NamedTuple):
    #: Whether nobody can take the event any more.
    is_gone: bool
    #: How many waits it has ended.
    ended: int


def _give(event: Event, waits: Sequence[EventWait], using: str) -> _Given:
    """Give an event to those of *waits* that are open."""
    give = _show_to if event.broadcast else _give_away
    return without_deadlock(using, functools.partial(give, event, waits, using))


def _give_away(event: Event, waits: Sequence[EventWait], using: str) -> _Given:
    """Give an event to the one job that takes it."""
    (wait,) = waits
    result = result_text(event.payload, encrypt=wait.encrypts)
    connection = connections[using]
    with transaction.atomic(using), connection.cursor() as cursor:
        given = dialect_for(connection).give_event(cursor, event.pk, wait.pk, wait.job_id, result)
        had_event, had_wait = given or _given_by_several(event, wait, using)
        if not had_wait:
            transaction.set_rollback(True, using)
    if had_event and not had_wait:
        # A job that becomes WAITING again has another row.
        EventWait.objects.using(using).filter(pk=wait.pk)._raw_delete(using)
    return _Given(is_gone=had_wait or not had_event, ended=int(had_wait))


def _given_by_several(event: Event, wait: EventWait, using: str) -> tuple[bool, bool]:
    if not Event.objects.using(using).filter(pk=event.pk)._raw_delete(using):
        return False, False
    return True, bool(end_waits([wait], End(event.payload), using))


def _show_to(event: Event, waits: Sequence[EventWait], using: str) -> _Given:
    with transaction.atomic(using):
        if not Event.objects.using(using).filter(pk=event.pk).select_for_update().exists():
            return _Given(is_gone=True, ended=0)
        return _Given(False, end_waits(waits, End(event.payload, broadcast=event.pk), using))
