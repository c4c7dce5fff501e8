"""A job as people may see it: without secrets, and whatever somebody wrote into its row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import Case, ExpressionWrapper, F, TextField, Value, When
from django.db.models.functions import Length
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from . import registry
from .models import Job, JobQuerySet
from .models.fields import JSONTextField
from .redaction import redact, redact_arguments, redact_text, redact_values, secrets_in

#: Columns that may be large; a list of jobs leaves them in the database.
LARGE_COLUMNS = ("args", "kwargs", "headers", "options", "result", "progress", "error_message")

_PAYLOAD = ("args", "kwargs", "headers", "result", "progress")


class Unreadable:
    """Stands for a text that is no JSON, or not of the shape that it must have."""

    def __str__(self) -> str:
        return _("(unreadable)")


def with_argument_texts(jobs: JobQuerySet, longest: int) -> JobQuerySet:
    """Leave the large columns out and add ``args_text`` and ``kwargs_text``, None if too long.

    They are texts, not values, so that one row that was broken by hand does not break a page.
    """
    texts = {
        f"{column}_text": Case(
            When(**{f"{column}_length__lte": longest}, then=_text(column)),
            default=Value(None),
            output_field=TextField(null=True),
        )
        for column in ("args", "kwargs")
    }
    lengths = {f"{column}_length": Length(_text(column)) for column in ("args", "kwargs")}
    shown: JobQuerySet = jobs.defer(*LARGE_COLUMNS).alias(**lengths).annotate(**texts)
    return shown


def arguments_line(job: Job, limit: int) -> str:
    """Return the arguments of a row from :func:`with_argument_texts` as in a call, cut."""
    texts = vars(job)
    args_text, kwargs_text = texts["args_text"], texts["kwargs_text"]
    if args_text is None or kwargs_text is None:
        return "…"
    args, kwargs = shown_arguments(job.name, args_text, kwargs_text)
    if isinstance(args, Unreadable) or isinstance(kwargs, Unreadable):
        return str(Unreadable())
    parts = [_compact(value) for value in args]
    parts += [f"{name}={_compact(value)}" for name, value in kwargs.items()]
    line = ", ".join(parts)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def shown_arguments(name: str, args: str, kwargs: str) -> tuple[Any, Any]:
    """Return both kinds of arguments, given as texts, redacted."""
    values = _arguments(args, kwargs)
    if values is None:
        return Unreadable(), Unreadable()
    return redact_arguments(*values, *_rules(name))


def shown_payload(job: Job) -> dict[str, Any]:
    """Return ``args``, ``kwargs``, ``headers``, ``result``, ``progress`` and ``message``, redacted.

    Read from the row in one query. A secret among the arguments is blanked wherever it comes up
    again.
    """
    texts = _stored_texts(job)
    if texts is None:  # deleted since
        return dict.fromkeys(_PAYLOAD) | {"message": ""}
    parameters, sensitive = _rules(job.name)
    values = _arguments(texts["args"], texts["kwargs"])
    secrets = secrets_in(*values, parameters, sensitive) if values else set()
    args, kwargs = shown_arguments(job.name, texts["args"], texts["kwargs"])
    shown = {"args": args, "kwargs": kwargs}
    for name in ("headers", "result", "progress"):
        shown[name] = redact_values(redact(_read(texts[name]), sensitive), secrets)
    return shown | {"message": redact_text(texts["error_message"], secrets)}


def pretty(value: Any) -> str:
    """Return a JSON value on lines of its own."""
    if isinstance(value, Unreadable):
        return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def retries_line(job: Job) -> str:
    """Return ``2/3``: how often the job was retried, and how often it may be."""
    return f"{job.retries}{_out_of(job, 0)}"


def attempt_line(job: Job) -> str:
    """Return ``2/4``: which attempt this is or was, of how many; 0 before the first."""
    return f"{job.retries + 1 if job.attempt else 0}{_out_of(job, 1)}"


def plain(number: float) -> str:
    """Return a number as people write it: in the language of the request, without exponents."""
    if isinstance(number, float):
        number = int(number) if number.is_integer() else round(number, 3)
    return number_format(number, force_grouping=True)


def short_class(path: str) -> str:
    """Return the last part of an exception's dotted name."""
    return path.rpartition(".")[2]


def _out_of(job: Job, first: int) -> str:
    function = registry.find(job.name)
    if function is None:
        return ""
    options = function.options
    if not (job.retries or options.autoretry_for or options.bind):
        return ""  # nothing retries it
    limit = options.max_retries
    return "/∞" if limit is None else f"/{limit + first}"


def _stored_texts(job: Job) -> dict[str, Any] | None:
    if job._state.adding:  # it ran in this process and has no row
        field: Any = JSONTextField()
        prepared = {name: field.get_prep_value(vars(job)[name]) for name in _PAYLOAD}
        return prepared | {"error_message": job.error_message}
    row = Job.objects.using(job._state.db).filter(pk=job.pk)
    found = row.values_list(*map(_text, _PAYLOAD), "error_message").first()
    return None if found is None else dict(zip((*_PAYLOAD, "error_message"), found, strict=True))


def _text(column: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(F(column), output_field=TextField())


def _rules(name: str) -> tuple[Sequence[str], Sequence[str]]:
    function = registry.find(name)
    return (function.parameters, function.options.sensitive) if function else ((), ())


def _arguments(args: str, kwargs: str) -> tuple[list[Any], dict[str, Any]] | None:
    values = _read(args), _read(kwargs)
    if isinstance(values[0], list) and isinstance(values[1], dict):
        return values[0], values[1]
    return None


def _read(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
