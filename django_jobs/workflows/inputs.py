"""When a job is claimed, the results of its parents become its first arguments.

A row's option ``takes`` says how: ``"value"`` is the one result, ``"list"`` all of them in their
order, a list of ``"value"`` and such lists the results in that shape, ``"summary"`` how a group's
members ended, ``"nothing"`` that the job only waits. The row keeps its own arguments, so that each
attempt reads the results anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections

from ..db import dialect_for
from ..define.envelopes import MARK, is_encrypted, json_of, opened_call, opened_text
from ..exceptions import EncryptionError
from ..serialization import loads
from ..status import Status
from ..values import Claimed


class Taken(NamedTuple):
    """The result of one parent; ``status`` is None if its row is gone."""

    parent_id: UUID
    status: str | None
    #: JSON text, or None.
    result: str | None


def add_results(jobs: Sequence[Claimed], using: str) -> None:
    """Put results before the arguments of the claimed *jobs* that take some; one query for all.

    If a result is gone, ``problem`` of the job says so.
    """
    takers: list[tuple[Claimed, Any]] = []
    for job in jobs:
        if MARK in job.args or MARK in job.kwargs:
            open_arguments(job)
        if job.options is None:
            continue
        options = job.row_options
        if job.problem:
            continue
        if options.problem:
            job.problem = options.problem
        elif (takes := options.workflow.taken_as) is not None:
            takers.append((job, takes))
    if not takers:
        return
    connection = connections[using]
    with connection.cursor() as cursor:
        found = dialect_for(connection).taken(cursor, [job.id for job, _takes in takers])
    by_child: dict[UUID, list[Taken]] = {}
    for child_id, parent_id, status, result in found:
        by_child.setdefault(child_id, []).append(Taken(parent_id, status, result))
    for job, takes in takers:
        give(job, takes, by_child.get(job.id, []))


def open_arguments(job: Claimed) -> None:
    """Decrypt the arguments of *job*; if that is not possible, ``problem`` says so."""
    try:
        args, kwargs = opened_call(loads(job.args), loads(job.kwargs))
        job.args, job.kwargs = json_of(args), json_of(kwargs)
    except EncryptionError as error:
        job.problem, job.is_closed = str(error), True
    except (ValueError, RecursionError):
        return  # edited by hand into no JSON; it is refused when it runs


def give(job: Claimed, takes: Any, taken: Sequence[Taken]) -> None:
    """Put what *job* takes before its arguments."""
    if takes == "summary":
        job.args = _prepended(json.dumps(summary(job, taken)), job.args)
        return
    for each in taken:
        if each.status != Status.SUCCESS:
            state = f"is {each.status}" if each.status else "is gone: it was deleted or pruned"
            job.problem = f"The result of job {each.parent_id} is an argument, and it {state}."
            return
    results = [each.result or "null" for each in taken]
    try:
        texts = iter([opened_text(result) for result in results])
        value = _shaped(takes, texts)
    except EncryptionError as error:
        job.problem, job.is_closed = str(error), True
        return
    except StopIteration:
        job.problem = f"A result that is an argument is gone: {len(taken)} are left of {takes}."
        return
    except RecursionError:
        job.problem = "The option takes is nested too deeply."
        return
    job.args = _prepended(value, job.args)
    job.took_encrypted = any(map(is_encrypted, results))


def summary(job: Claimed, taken: Sequence[Taken]) -> dict[str, Any]:
    """Return how the members of a group ended."""
    statuses = Counter(each.status for each in taken)
    return {
        "id": job.row_options.workflow.group,
        "total": len(taken),
        "succeeded": statuses[Status.SUCCESS],
        "failed": statuses[Status.FAILURE],
        "revoked": statuses[Status.REVOKED],
    }


def _shaped(takes: Any, texts: Iterator[str]) -> str:
    if takes == "value":
        return next(texts)
    if takes == "list":
        return f"[{','.join(texts)}]"
    return f"[{','.join([_shaped(each, texts) for each in takes])}]"


def _prepended(value: str, args: str) -> str:
    """Return *args* with *value* first; both are JSON texts, because results may be large."""
    if not args.startswith("["):
        return args  # edited by hand into no list; it is refused when it runs
    rest = args[1:]
    return f"[{value}]" if rest.strip() == "]" else f"[{value},{rest}"
