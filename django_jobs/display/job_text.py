"""A job's row as text for people: without secrets, and with any content by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from django.db.models import Case, ExpressionWrapper, F, Q, TextField, Value, When
from django.db.models.functions import Left, Length
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..define import envelopes
from ..define.envelopes import opened, opened_call, opened_progress
from ..define.fairness import value_of
from ..define.hidden_arguments import rules_of
from ..define.sensitive import Shown, shown_arguments
from ..exceptions import EncryptionError
from ..models import Job, JobQuerySet, Step
from ..models.fields import JSONTextField
from ..redaction import NO_SECRETS, REDACTED
from ..serialization import MAX_INT
from ..status import Status
from .call_text import call_line, named_arguments

#: Columns that may be large; a list of jobs leaves them in the database.
LARGE_COLUMNS = ("args", "kwargs", "headers", "options", "result", "progress", "error_message")

PAYLOAD = ("args", "kwargs", "headers", "result", "progress")
# The columns that decide which secrets the others hide.
_CALL = ("args", "kwargs", "headers", "options")

# A list reads so many characters of an error message.
_LONGEST_MESSAGE = 1_000
# The keys that progress() writes.
_PROGRESS = frozenset({"done", "total", "message"})


class Unreadable:
    """Stands for a text that is not JSON or does not have the right shape."""

    def __str__(self) -> str:
        return _("(unreadable)")


@dataclasses.dataclass(slots=True)
class Payload:
    """The columns of one job without secrets.

    ``text`` blanks secrets in a message or traceback. ``step_result`` returns the result of one of
    the job's steps; it is known if the arguments were read.
    """

    args: Any = None
    kwargs: Any = None
    #: The arguments with their names: see :func:`named_arguments`. None if they are unreadable.
    call: list[tuple[str, Any]] | None = None
    headers: Any = None
    result: Any = None
    progress: Any = None
    message: str = ""
    text: Callable[[str], str] = NO_SECRETS.blanked
    step_result: Callable[[Step], Any] = lambda step: REDACTED


def with_argument_texts(jobs: JobQuerySet, longest: int) -> JobQuerySet:
    """Defer the large columns, and add ``args_text`` and ``kwargs_text``, None if too long.

    They are texts, so that one row with invalid JSON does not break a page. ``options_text`` has
    the options, which say which arguments are hidden: without them no argument is shown.
    """
    lengths = {
        f"{column}_length": Length(_text(column)) for column in ("args", "kwargs", "options")
    }
    short_options = Q(options_length__lte=longest) | Q(options=None)
    texts = {
        f"{column}_text": Case(
            When(short_options, **{f"{column}_length__lte": longest}, then=_text(column)),
            default=Value(None),
            output_field=TextField(null=True),
        )
        for column in ("args", "kwargs")
    }
    options = Case(
        When(options_length__lte=longest, then=_text("options")),
        default=Value(None),
        output_field=TextField(null=True),
    )
    shown: JobQuerySet = (
        jobs.defer(*LARGE_COLUMNS).alias(**lengths).annotate(**texts, options_text=options)
    )
    return shown


def with_messages(jobs: JobQuerySet) -> JobQuerySet:
    """Add the begin of each error message, for :func:`message_text`."""
    return jobs.annotate(message_begin=Left("error_message", _LONGEST_MESSAGE))


def message_text(job: Job) -> str:
    """Return the begin of the error message of a row from both functions, without secrets."""
    text = str(vars(job)["message_begin"])
    return listed_text(job, text) if text else ""


def arguments_line(job: Job, limit: int) -> str:
    """Return the arguments of a row from :func:`with_argument_texts` as one line."""
    args, kwargs = listed_arguments(job)
    if args is None or kwargs is None:
        return "…"
    if isinstance(args, Unreadable) or isinstance(kwargs, Unreadable):
        return str(Unreadable())
    line = call_line(named_arguments(job.name, vars(job)["options_text"], args, kwargs))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def listed_arguments(job: Job) -> tuple[Any, Any]:
    """Return args and kwargs of a row from :func:`with_argument_texts`, without secrets."""
    texts = vars(job)
    args, kwargs = texts["args_text"], texts["kwargs_text"]
    if args is None or kwargs is None:
        return None, None
    return _arguments(_shown(job.name, args, kwargs, None, texts["options_text"]))


def listed_text(job: Job, text: str) -> str:
    """Return *text*, which may quote arguments of a row from :func:`with_argument_texts`."""
    texts = vars(job)
    args, kwargs = texts["args_text"], texts["kwargs_text"]
    if args is None or kwargs is None:
        return "…"
    return _shown(job.name, args, kwargs, None, texts["options_text"]).text(text)


def shown_payload(job: Job, columns: Sequence[str] = PAYLOAD, *, decrypts: bool = False) -> Payload:
    """Return the *columns* of a job without secrets, read in one query or two.

    Encrypted values are shown as ``[encrypted]``, unless the reader *decrypts* it. The secrets
    among the arguments are blanked in all columns. The arguments are read if they are in *columns*,
    or if another column may quote them.
    """
    rest = [name for name in columns if name not in ("args", "kwargs")]
    is_whole = "args" in columns
    texts = _stored_texts(job, list(dict.fromkeys([*rest, *(_CALL if is_whole else ())])))
    if texts is None:  # the row was deleted
        return Payload()
    values = {name: _plain_value(name, _read(texts[name]), decrypts) for name in rest}
    message = texts["error_message"]
    if not is_whole:
        if not message and not any(map(_may_quote, values.values())):
            return Payload(**values)
        if (texts := _stored_texts(job, _CALL)) is None:
            return Payload()
    args_text, kwargs_text, headers, options = (texts[name] for name in _CALL)
    shown = _shown(job.name, args_text, kwargs_text, headers, options, decrypts)
    args, kwargs = _arguments(shown) if is_whole else (None, None)
    seen = {
        name: value if isinstance(value, Unreadable) else shown.value(value)
        for name, value in values.items()
    }

    def step_result(step: Step) -> Any:
        if decrypts:
            step.result = _opened(step.result)
        return shown.step_result(step)

    message = shown.text(message)
    call = None
    if isinstance(args, list) and isinstance(kwargs, dict):
        call = named_arguments(job.name, options, args, kwargs)
    return Payload(
        args, kwargs, call, **seen, message=message, text=shown.text, step_result=step_result
    )


def fair_key_line(job: Job, payload: Payload) -> str:
    """Return the text of the key by which the job takes turns, without secrets."""
    return payload.text(value_of(job.fair_key or "")) or "–"


def pretty(value: Any) -> str:
    """Return a JSON value as indented lines."""
    if isinstance(value, Unreadable):
        return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def reason_text(reason: str) -> str:
    """Return the reason why an operation skipped a job, in the current language."""
    status = reason.removeprefix("is ").upper()
    return _("is %s") % Status(status).label if status in Status.values else _(reason)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a JSON *value* is a number that can be computed with."""
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and -MAX_INT <= value <= MAX_INT


def plain(number: float) -> str:
    """Return a number in the current language, without an exponent."""
    if isinstance(number, float):
        number = int(number) if number.is_integer() else round(number, 3)
    return number_format(number, force_grouping=True)


def short_class(path: str) -> str:
    """Return the last part of an exception's dotted name."""
    return path.rpartition(".")[2]


def _stored_texts(job: Job, columns: Sequence[str]) -> dict[str, Any] | None:
    """Return the columns' texts and the error message, or None if the row is gone."""
    if job._state.adding:  # the job ran in this process, without a row
        field: Any = JSONTextField()
        prepared = {name: field.get_prep_value(vars(job)[name]) for name in columns}
        return prepared | {"error_message": job.error_message}
    row = Job.objects.using(job._state.db).filter(pk=job.pk)
    found = row.values_list(*map(_text, columns), "error_message").first()
    return None if found is None else dict(zip((*columns, "error_message"), found, strict=True))


def _text(column: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(F(column), output_field=TextField())


def _shown(
    name: str,
    args: str,
    kwargs: str,
    headers: str | None,
    options: str | None,
    decrypts: bool = False,
) -> Shown:
    values = (_read(args), _read(kwargs), _read(headers))
    known = [None if isinstance(value, Unreadable) else value for value in values]
    rules = rules_of(name, options)
    if decrypts:
        rules = rules.decrypted()
        known[:2] = opened_call(known[0], known[1], _opened)
    return shown_arguments(rules, *known)


def _plain_value(name: str, value: Any, decrypts: bool) -> Any:
    """Return a result, headers or progress, decrypted where the reader may see that."""
    if name == "progress":
        return opened_progress(value, by=_opened if decrypts else envelopes.shown)
    return _opened(value) if decrypts and name == "result" else value


def _opened(value: Any) -> Any:
    """Return *value* decrypted; as it is if the key is missing, so that it shows as encrypted."""
    try:
        return opened(value)
    except EncryptionError:
        return value


def _arguments(shown: Shown) -> tuple[Any, Any]:
    if isinstance(shown.args, list) and isinstance(shown.kwargs, dict):
        return shown.args, shown.kwargs
    return Unreadable(), Unreadable()


def _may_quote(value: Any) -> bool:
    """Return whether *value* may quote an argument. The numbers of progress() cannot."""
    if isinstance(value, dict):
        return any(name not in _PROGRESS or _may_quote(item) for name, item in value.items())
    return not (value is None or isinstance(value, (int, float, Unreadable)) or value == "")


def _read(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable()
