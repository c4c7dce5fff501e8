"""Checks of the project's code: the annotations of job functions, and the schedules."""

from __future__ import annotations

import datetime
import decimal
import types
import typing
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core import checks

from ..beat.sync import schedules as code_schedules
from ..define import registry

if TYPE_CHECKING:
    from ..api.job import JobFunction


@checks.register("django_jobs")
def check_schedules(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse invalid schedules of ``@job``, ``SCHEDULES`` and ``add_periodic_task()``."""
    _found, wrong = code_schedules()
    return [checks.Error(text, id="django_jobs.E009") for text in wrong]


@checks.register("django_jobs")
def check_annotations(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of parameters of job functions whose types JSON does not keep."""
    found: list[checks.CheckMessage] = []
    for function in registry.every():
        for name, kind in _types_lost(function):
            annotation, write, read = _IN_JSON[kind]
            found.append(
                checks.Warning(
                    f"{function.name} annotates its parameter {name!r} as {kind.__name__}, but "
                    "arguments are stored as JSON, and the job gets a str.",
                    hint=f"Annotate it as {annotation}, pass {write.format(name)}, and write "
                    f"{read.format(name)} in the job.",
                    id="django_jobs.W006",
                )
            )
    return found


# Per type: the annotation to use, what to pass, and how the job gets the value back.
_IN_JSON = {
    datetime.datetime: ("str", "{}.isoformat()", "datetime.datetime.fromisoformat({})"),
    datetime.date: ("str", "{}.isoformat()", "datetime.date.fromisoformat({})"),
    datetime.time: ("str", "{}.isoformat()", "datetime.time.fromisoformat({})"),
    datetime.timedelta: ("float", "{}.total_seconds()", "datetime.timedelta(seconds={})"),
    decimal.Decimal: ("str", "str({})", "decimal.Decimal({})"),
    uuid.UUID: ("str", "str({})", "uuid.UUID({})"),
}


def _types_lost(function: JobFunction[..., Any, Any]) -> Iterator[tuple[str, type]]:
    try:
        hints = typing.get_type_hints(function.__wrapped__)
    except Exception:  # an annotation names something that only type checkers import
        return
    for name in function.call_signature.parameters:
        yield from ((name, kind) for kind in list(_lost_in(hints.get(name)))[:1])


def _lost_in(hint: Any) -> Iterator[type]:
    """Yield the types within *hint* that arrive as str or float; none for a union with str."""
    inner = typing.get_args(hint)
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if inner and not (is_union and str in inner):
        for part in inner:
            yield from _lost_in(part)
    elif not inner and isinstance(hint, type):
        yield from [kind for kind in _IN_JSON if issubclass(hint, kind)][:1]
