"""Turn values into JSON and back, one converter for each annotation.

A converter leaves a value of another type as it is when it encodes, so that the sending side
refuses nothing that was accepted without annotations. When it decodes it raises
:class:`Mismatch`.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string

from ..serialization import class_named, type_of

#: The types of JSON besides lists and dicts; bool is an int.
SCALARS = (str, int, float, type(None))
# Characters of the allowed values in a message.
_LONGEST_CHOICE = 80


class Mismatch(Exception):
    """JSON is not that of the wanted type. ``steps`` is the path to it, innermost first."""

    def __init__(self, wanted: str, value: object) -> None:
        super().__init__(wanted)
        self.wanted, self.given = wanted, type_of(value)
        self.steps: list[str] = []

    def message(self, name: str, function: str) -> str:
        """Return the sentence for an argument of *function*; it shows no value."""
        path = "".join(self.steps[::-1])
        return (
            f"Argument {name!r}{path} of {function} must be {self.wanted}, and {self.given} "
            "arrived that does not convert."
        )


class Converter:
    """Leaves values as they are: an annotation that JSON keeps, or an unknown one."""

    #: The name of the annotation in messages.
    wanted = "JSON"
    #: Whether its values differ from their JSON. Its parts answer for themselves.
    changes = False

    def __init__(self, *kinds: type) -> None:
        # The types of JSON that are the annotation's own.
        self.kinds = kinds
        if type(self) is Converter and kinds:
            self.wanted = "None" if kinds[0] is type(None) else class_named(kinds[0])

    def parts(self) -> Iterable[Converter]:
        return ()

    def is_own(self, value: object) -> bool:
        """Return whether *value* has the annotation's own type."""
        return isinstance(value, self.kinds)

    def encode(self, value: Any) -> Any:
        """Return the JSON of *value*; a value of another type is returned as it is.

        Raises ``ArgumentError`` for a value of the type that JSON could not bring back.
        """
        return value

    def decode(self, value: Any) -> Any:
        """Return the value that the JSON *value* stands for. Raises :class:`Mismatch`."""
        return value

    def mismatch(self, value: object, more: str = "") -> Mismatch:
        return Mismatch(self.wanted + more, value)

    def strict(self, value: Any) -> Any:
        """Return what :meth:`decode` does, but only for JSON of the annotation's own type."""
        if type(self) is Converter and not self.is_own(value):
            raise self.mismatch(value)
        return self.decode(value)


#: Of an annotation that says nothing, and of one that is no type of the table.
ANY, UNKNOWN = Converter(object), Converter()


def converts(converter: Converter) -> bool:
    """Return whether *converter* or a part of it changes values."""
    return any(each.changes for each in walked(converter))


def walked(converter: Converter) -> Iterator[Converter]:
    """Yield *converter* and all of its parts; classes may contain themselves."""
    seen: set[int] = set()
    left = [converter]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            left += each.parts()


class Rule(NamedTuple):
    """How values of one type become JSON, and how a class is made of a JSON text."""

    to_json: Callable[[Any], Any]
    from_json: Callable[[Any, str], Any]


def _iso(moment: datetime.datetime) -> str:
    # Django's encoder drops microseconds; in everything else the text is the same.
    text = moment.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _date(kind: Any, text: str) -> datetime.date:
    # A datetime is a date, too, and comes back as what it was.
    return kind.fromisoformat(text) if "T" not in text else datetime.datetime.fromisoformat(text)


def _duration(kind: Any, text: str) -> Any:
    found = parse_duration(text)
    if found is None:
        raise ValueError
    return kind(found.days, found.seconds, found.microseconds)


def _bytes(kind: Any, text: str) -> Any:
    return kind(base64.b64decode(text, validate=True))


#: The types whose JSON is a text; their subclasses count, too.
TYPES: Mapping[type, Rule] = {
    datetime.datetime: Rule(_iso, lambda kind, text: kind.fromisoformat(text)),
    datetime.date: Rule(
        lambda day: _iso(day) if isinstance(day, datetime.datetime) else str(day), _date
    ),
    datetime.time: Rule(lambda time: time.isoformat(), lambda kind, text: kind.fromisoformat(text)),
    datetime.timedelta: Rule(duration_iso_string, _duration),
    decimal.Decimal: Rule(str, lambda kind, text: kind(text)),
    uuid.UUID: Rule(str, lambda kind, text: kind(text)),
    pathlib.PurePath: Rule(str, lambda kind, text: kind(text)),
    bytes: Rule(lambda data: base64.b64encode(data).decode(), _bytes),
    bytearray: Rule(lambda data: base64.b64encode(data).decode(), _bytes),
}


class Text(Converter):
    """A type of :data:`TYPES`."""

    changes = True

    def __init__(self, kind: type, base: type) -> None:
        super().__init__(base)
        self.kind, self.rule, self.wanted = kind, TYPES[base], class_named(kind)
        self.taken = (str, int, float) if base is decimal.Decimal else (str,)

    def encode(self, value: Any) -> Any:
        return self.rule.to_json(value) if self.is_own(value) else value

    def decode(self, value: Any) -> Any:
        if isinstance(value, self.taken) and not isinstance(value, bool):
            with contextlib.suppress(ValueError, ArithmeticError):
                return self.rule.from_json(self.kind, str(value))
        raise self.mismatch(value)


class Member(Converter):
    """An enum, by its members' values; by their names if JSON does not hold the values."""

    changes = True

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__(kind)
        self.kind = kind
        self.by_value = all(_is_json(member.value) for member in kind)
        shown = ", ".join(repr(m.value if self.by_value else m.name) for m in kind)
        self.wanted = f"{class_named(kind)} ({shown:.{_LONGEST_CHOICE}})"

    def encode(self, value: Any) -> Any:
        if not self.is_own(value):
            return value
        return value.value if self.by_value else value.name

    def decode(self, value: Any) -> Any:
        try:
            found = self.kind(value) if self.by_value else self.kind[value]
        except Exception:  # _missing_() is code of the project
            raise self.mismatch(value) from None
        # Some flags drop bits that no member has, in Python 3.11.2 all of them by default.
        if isinstance(found, enum.Flag) and self.by_value and found.value != value:
            raise self.mismatch(value)
        return found


def _is_json(value: object) -> bool:
    return isinstance(value, SCALARS) and not (isinstance(value, float) and math.isnan(value))


class Choice(Converter):
    """A ``Literal``."""

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        members = {
            type(each): Member(type(each)) for each in choices if isinstance(each, enum.Enum)
        }
        data = Text(bytes, bytes)
        self.by_json = [(members.get(type(each), data).encode(each), each) for each in choices]
        self.changes = any(code is not choice for code, choice in self.by_json)
        self.wanted = (
            f"one of {', '.join(repr(code) for code, _ in self.by_json):.{_LONGEST_CHOICE}}"
        )

    def is_own(self, value: object) -> bool:
        return any(value is choice or value == choice for _code, choice in self.by_json)

    def encode(self, value: Any) -> Any:
        for code, choice in self.by_json:
            if type(value) is type(choice) and value == choice:
                return code
        return value

    def decode(self, value: Any) -> Any:
        for code, choice in self.by_json:
            if type(value) is type(code) and value == code:
                return choice
        raise self.mismatch(value)


def within(step: str, converter: Converter, value: Any) -> Any:
    """Decode a part of a value; a mismatch gets the *step* to it."""
    try:
        return converter.decode(value)
    except Mismatch as mismatch:
        mismatch.steps.append(step)
        raise
