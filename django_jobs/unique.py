"""At most one live copy of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from . import serialization
from .conf import get_settings
from .dialects import clock, dialect_for
from .exceptions import DuplicateKey
from .models import Job, UniqueKey
from .result import AsyncResult
from .status import ENDED, Status
from .values import NewJob

if TYPE_CHECKING:
    from .define import JobFunction


def key_of(
    function: JobFunction[..., Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str:
    """Return the 64 hex digits that two calls share when they are the same job."""
    wanted = function.options.unique_key
    if callable(wanted):
        same: Any = wanted(*args, **kwargs)
    else:
        bound = function.call_signature.bind(*args, **kwargs)
        bound.apply_defaults()
        same = dict(bound.arguments)
        if wanted is not None:
            missing = [name for name in wanted if name not in same]
            if missing:
                raise ImproperlyConfigured(
                    f"unique_key of {function.name} names {missing[0]!r}, "
                    f"its parameters are {', '.join(same)}"
                )
            same = {name: same[name] for name in wanted}
    text = serialization.dumps(same, where="unique_key", max_bytes=get_settings().max_payload_bytes)
    return hashlib.sha256(f"{function.name}\0{text}".encode()).hexdigest()


def hold_key(
    function: JobFunction[..., Any, Any],
    rows: Sequence[NewJob],
    results: Sequence[AsyncResult[Any]],
    using: str,
) -> tuple[list[NewJob], list[AsyncResult[Any]]]:
    """Take the key of each row, inside a transaction; return the rows to write and all handles.

    A row whose key a live job holds is left out, and its handle is the live job's; with
    ``unique="raise"`` :class:`DuplicateKey` is raised instead.
    """
    new: list[NewJob] = []
    handles: list[AsyncResult[Any]] = []
    ours: dict[str, UUID] = {}
    for row, result in zip(rows, results, strict=True):
        assert row.unique_key is not None
        holder = ours.get(row.unique_key) or take_key(
            row.unique_key, row.id, function.options.unique_for, using
        )
        ours[row.unique_key] = holder or row.id
        if holder is None:
            new.append(row)
            handles.append(result)
        elif function.options.unique == "raise":
            raise DuplicateKey(f"{function.name} with these arguments is live as job {holder}")
        else:
            handles.append(AsyncResult(holder, name=function.name, using=using))
    return new, handles


def take_key(key: str, job_id: UUID, seconds: float | None, using: str) -> UUID | None:
    """Give *key* to a job, inside a transaction; return the job that keeps it, or None."""
    keys = UniqueKey.objects.using(using)
    until = None if seconds is None else clock(using, seconds)
    connection = connections[using]
    dialect = dialect_for(connection)
    # A conflict waits here for the other transaction; the statements after it see what it wrote.
    with connection.cursor() as cursor:
        dialect.hold_key(cursor, key, job_id, "NULL" if seconds is None else dialect.after(seconds))
    held = keys.select_for_update().get(key=key)
    if held.job_id == job_id:
        return None
    holder = Job.objects.using(using).filter(id=held.job_id)
    if holder.exclude(status__in=ENDED).exists():
        return held.job_id
    kept = keys.filter(key=key, until__gt=clock(using))
    if kept.exists() and holder.filter(status=Status.SUCCESS).exists():
        return held.job_id
    keys.filter(key=key).update(job_id=job_id, until=until)
    return None
