"""A schedule's arguments and headers as JSON, in which secrets are blanks that keep their value."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from ..define.sensitive import redact, shown_schedule
from ..models import Schedule
from ..redaction import REDACTED

#: In place of a stored value that does not exist.
NOWHERE: Any = ...
KEPT_ONLY: Any = gettext_lazy(
    "Replace %s by a new value: a hidden value is kept only at the same position, "
    "for the same job function, in a list of the same length."
)


def shown_arguments(schedule: Schedule) -> dict[str, Any]:
    """Return args, kwargs and headers without their secrets."""
    shown = shown_schedule(schedule)
    headers = shown.value(schedule.headers)
    return {"args": shown.args, "kwargs": shown.kwargs, "headers": headers}


def unblanked(value: Any, stored: Any) -> Any:
    """Return *value* with every blank replaced by the value at the same position in *stored*.

    Raises ``ValidationError`` for a blank without such a value: moved elsewhere, or given to
    another job function, a secret would become visible or change its meaning.
    """
    if isinstance(value, str) and REDACTED in value:
        # Only a part of a text may be blank, such as a password in a URL.
        is_kept = stored is not NOWHERE if value == REDACTED else redact(stored) == value
        if not is_kept:
            raise ValidationError(KEPT_ONLY % REDACTED)
        return stored
    if isinstance(value, dict):
        known = stored if isinstance(stored, dict) else {}
        return {key: unblanked(item, known.get(key, NOWHERE)) for key, item in value.items()}
    if isinstance(value, list):
        is_same = isinstance(stored, list) and len(stored) == len(value)
        values = stored if is_same else [NOWHERE] * len(value)
        return [unblanked(*pair) for pair in zip(value, values, strict=True)]
    return value
