"""The fields that a person fills in to answer a job, and their checks."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

from ..serialization import type_of

#: The kinds of fields, as a call names them, and as the row stores them.
KINDS: Mapping[type, str] = {
    str: "text",
    int: "whole number",
    decimal.Decimal: "number",
    bool: "yes or no",
    datetime.date: "date",
}
LONGEST_CHOICE = 100
MOST = 50

Form = Mapping[str, type | Sequence[str]]


def stored_choices(choices: object) -> list[str]:
    """Return the choices as the row stores them; raise ``ValueError`` for what are none."""
    problem = (
        f"The choices must be a list of 1 to {MOST} different texts of at most {LONGEST_CHOICE} "
    )
    problem += "characters"
    if not isinstance(choices, (list, tuple)):
        raise ValueError(f"{problem}, got {type_of(choices)}.")
    if not 0 < len(choices) <= MOST or len(set(map(str, choices))) < len(choices):
        raise ValueError(f"{problem}, got {len(choices)}.")
    for choice in choices:
        if not isinstance(choice, str) or not 0 < len(choice) <= LONGEST_CHOICE:
            raise ValueError(f"{problem}, got {choice!r:.120} among them.")
    return list(choices)


def stored_form(form: object) -> dict[str, Any]:
    """Return the fields as the row stores them; raise ``ValueError`` for what are none."""
    if form is None:
        return {}
    if not isinstance(form, Mapping):
        raise ValueError(f"The form must be a dict of fields by name, got {type_of(form)}.")
    return {_name(name): _stored_field(name, field) for name, field in form.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(
            f"The form must have names as a variable has them, got {name!r:.120}. "
            "The page shows amount_due as “Amount due”."
        )
    return name


def _stored_field(name: str, field: object) -> Any:
    if isinstance(field, type) and field in KINDS:
        return KINDS[field]
    if isinstance(field, (list, tuple)):
        return stored_choices(field)
    kinds = ", ".join(kind.__name__ for kind in KINDS)
    raise ValueError(
        f"The field form[{name!r}] must be one of the types {kinds} or a list of texts, "
        f"got {field!r:.120}."
    )


def checked_answers(form: Mapping[str, Any], answers: object) -> dict[str, Any]:
    """Return the *answers* to a stored *form*; raise ``ValueError`` for one that does not fit."""
    if answers is None:
        answers = {}
    if not isinstance(answers, Mapping):
        raise ValueError(f"The form must be a dict of answers by name, got {type_of(answers)}.")
    if different := form.keys() ^ answers.keys():
        raise ValueError(
            f"The form must have exactly the answers {', '.join(form) or '(none)'}. "
            f"Missing or unknown: {', '.join(sorted(map(str, different)))}."
        )
    for name, field in form.items():
        _check_answer(name, field, answers[name])
    return dict(answers)


def _check_answer(name: str, field: Any, answer: object) -> None:
    if isinstance(field, list):
        if answer not in field:
            raise ValueError(f"The answer form[{name!r}] must be one of {', '.join(field)}.")
        return
    kind = next(kind for kind, word in KINDS.items() if word == field)
    # A bool is an int, and a datetime is a date.
    if type(answer) is not kind:
        raise ValueError(
            f"The answer form[{name!r}] must be {kind.__name__}, got {type_of(answer)}."
        )


def read_answers(form: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers from JSON, with the types that *form* names."""
    return {name: _read(form.get(name), value) for name, value in stored.items()}


def _read(field: Any, value: Any) -> Any:
    if field == KINDS[decimal.Decimal]:
        return decimal.Decimal(value)
    return datetime.date.fromisoformat(value) if field == KINDS[datetime.date] else value
