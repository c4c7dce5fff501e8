"""JSON that is the same on every database, and its validator.

Arguments and results are stored as text, so that jobs get them unchanged (``jsonb`` turns ``1e16``
into an integer and sorts keys). The types of ``DjangoJSONEncoder`` (datetime, date, time,
timedelta, Decimal, UUID, lazy strings) become strings.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NoReturn

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.utils.functional import Promise

from .exceptions import ArgumentError

MAX_DEPTH = 32
# The largest integer that the JSON of every database keeps exactly.
MAX_INT = 2**63 - 1

_AS_STRING = (
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID,
    Promise,
)  # fmt: skip
_ANNOTATE = "or annotate the parameter or the result with its type"
_PAYLOAD = " (MAX_PAYLOAD_BYTES)"
_decoder: Any = json.JSONDecoder()
_encoder = DjangoJSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False)
_canonical = DjangoJSONEncoder(
    allow_nan=False, separators=(",", ":"), ensure_ascii=False, sort_keys=True
)


def _encode_of(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return ``encoder.encode``, without making CPython's encoder anew for each value."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    quote, separators = json.encoder.encode_basestring, (":", ",")
    # None: without a look for circles, as _check() refuses what nests deep.
    chunks = make(None, encoder.default, quote, None, *separators, False, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _encode_of(_encoder)


def dumps(value: Any, *, where: str, max_bytes: int, around: int = 0) -> str:
    """Return *value* as JSON text; *where* names it in the errors.

    The outer *around* levels do not count as nesting.

    Raises :class:`ArgumentError` for values that JSON or one of the databases cannot hold: NaN and
    Infinity, NUL characters and lone surrogates, keys that are not strings, integers beyond 64
    bits, nesting deeper than 32, more than *max_bytes* of UTF-8, and objects of other types.
    """
    try:
        _check(value, max_bytes, 1 - around)
    except _Refusal as refusal:
        raise ArgumentError(refusal.message(where, 0)) from None
    except _TooLarge:
        raise ArgumentError(_too_large(f"{where} takes", None, max_bytes)) from None
    text = _encode(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise ArgumentError(_too_large(f"{where} takes", size, max_bytes))
    return text


def canonical(value: Any, *, where: str, max_bytes: int) -> str:
    """Return *value* as :func:`dumps` does, but with the keys of dicts sorted."""
    dumps(value, where=where, max_bytes=max_bytes)
    return _canonical.encode(value)


def arguments_problems(args: object, kwargs: object) -> list[str]:
    """Return what is wrong with the types of a call's containers, without their values."""
    found = []
    unordered = isinstance(args, (str, bytes, Mapping, Set))
    if args is not None and (unordered or not isinstance(args, Iterable)):
        found.append(
            f"args must be a list or a tuple of arguments, got {type_of(args)}. "
            "For one argument write (value,)."
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        found.append(f"kwargs must be a dict of arguments by name, got {type_of(kwargs)}.")
    elif kwargs and (others := [key for key in kwargs if not isinstance(key, str)]):
        found.append(f"kwargs must have names as keys, got {type_of(others[0])}.")
    return found


def type_of(value: object) -> str:
    """Return ``a list`` or ``an int``: the type, for messages that must hide the value."""
    return class_named(type(value))


def class_named(kind: type) -> str:
    """Return ``a list`` or ``an int``: the class with its article."""
    name = kind.__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def dumps_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, max_bytes: int
) -> tuple[str, str]:
    """Return both kinds of arguments as JSON texts, at most *max_bytes* together.

    Raises :class:`ArgumentError`, as :func:`dumps` does.
    """
    args = args if type(args) in (list, tuple) else list(args)
    kwargs = kwargs if type(kwargs) is dict else dict(kwargs)
    try:
        room = _check_list(args, max_bytes, 1) if args else max_bytes - 2
        if kwargs:
            _check_dict(kwargs, room, 1)
    except _Refusal as refusal:
        named = f"argument {refusal.steps[-1]!r}" if refusal.steps else "argument name"
        raise ArgumentError(refusal.message(named, 1)) from None
    except _TooLarge:
        raise ArgumentError(_too_large("the arguments take", None, max_bytes, _PAYLOAD)) from None
    args_text = _encode(args) if args else "[]"
    kwargs_text = _encode(kwargs) if kwargs else "{}"
    size = len(args_text) + len(kwargs_text)
    if not (args_text.isascii() and kwargs_text.isascii()):
        size = len(args_text.encode()) + len(kwargs_text.encode())
    if size > max_bytes:
        raise ArgumentError(_too_large("the arguments take", size, max_bytes, _PAYLOAD))
    return args_text, kwargs_text


def _too_large(what: str, size: int | None, allowed: int, setting: str = "") -> str:
    found = f"more than {allowed:,}" if size is None else f"{size:,}"
    it = "them" if setting else "it"
    return _sentence(
        f"{what} {found} bytes as JSON, allowed are {allowed:,}{setting}. "
        f"Store {it} in a model or a file, and pass its id."
    )


def _sentence(text: str) -> str:
    """Capitalize *text*, unless it begins with the name of an option."""
    is_name = text.split(maxsplit=1)[0] not in ("a", "argument", "the")
    return text if is_name else text[0].upper() + text[1:]


def loads(text: str) -> Any:
    """Return the value of JSON *text*."""
    try:
        # decode() looks for white space, which takes longer than to read a short text.
        value, end = _decoder.scan_once(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else _decoder.decode(text)


class _TooLarge(Exception):
    """The JSON of the value takes more bytes than are left."""


class _Refusal(Exception):
    """Why a value is refused. ``steps`` is the path to it, innermost first.

    Each level adds its own step while the exception passes through it, so that valid elements cost
    no path.
    """

    def __init__(self, why: str, is_key: bool = False) -> None:
        super().__init__(why)
        self.why, self.is_key = why, is_key
        self.steps: list[int | str] = []

    def message(self, where: str, skip: int) -> str:
        """Return the error's text; *where* replaces the first *skip* steps."""
        path = "".join(f"[{_cut(step)}]" for step in self.steps[::-1][skip:])
        of = "a key of " if self.is_key and len(self.steps) >= skip else ""
        return _sentence(f"{of}{where}{path} {self.why}")


def _check(value: Any, room: int, depth: int) -> int:
    """Return how many of *room* bytes *value* leaves; escapes do not count.

    Raises :class:`_TooLarge` before it reads the elements of a container that cannot fit.
    """
    kind = type(value)
    if value is None or kind is bool:
        return room - 4
    if kind is int or isinstance(value, int):
        if not -MAX_INT - 1 <= value <= MAX_INT:
            raise _Refusal("is an integer beyond 64 bits. Pass it as a string.")
        return room - 1
    if isinstance(value, str):
        room -= len(value) + 2
        if room < 0:
            raise _TooLarge
        _check_text(value)
        return room
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Refusal(f"is {value!r}, which cannot be stored as JSON. Pass None or a string.")
        return room - 1
    if isinstance(value, (list, tuple)):
        return _check_list(value, room, depth)
    if isinstance(value, dict):
        return _check_dict(value, room, depth)
    if not isinstance(value, _AS_STRING):
        raise _Refusal(f"is {type_of(value)}, which cannot be stored as JSON. {_advice(value)}.")
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        raise _Refusal(f"is {value!r}, which is not a number. Pass None or a string.")
    if isinstance(value, datetime.time) and value.utcoffset() is not None:
        raise _Refusal("is a time with a time zone. Annotate the parameter, or pass a text.")
    _check_text(str(value))
    return room - 2


def _check_list(value: Sequence[Any], room: int, depth: int) -> int:
    room -= 1  # two brackets, and no comma after the last
    if depth > MAX_DEPTH or len(value) * 2 > room:
        _refuse_container(depth)
    position = 0
    try:
        for position, item in enumerate(value):  # noqa: B007 (used for the refusal)
            if type(item) is int and -MAX_INT <= item <= MAX_INT:
                room -= 2
            else:
                room = _check(item, room, depth + 1) - 1
    except _Refusal as refusal:
        refusal.steps.append(position)
        raise
    return room if value else room - 1


def _check_dict(value: Mapping[Any, Any], room: int, depth: int) -> int:
    room -= 1
    if depth > MAX_DEPTH or len(value) * 5 > room:
        _refuse_container(depth)
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Refusal(
                f"has the key {_cut(key)}, but JSON keys are strings. Pass {_cut(str(key))}."
            )
        room -= len(key) + 4
        if room < 0:
            raise _TooLarge
        _check_text(key, is_key=True)
        try:
            room = _check(item, room, depth + 1)
        except _Refusal as refusal:
            refusal.steps.append(key)
            raise
    return room if value else room - 1


def _refuse_container(depth: int) -> NoReturn:
    if depth > MAX_DEPTH:
        raise _Refusal(f"is nested deeper than {MAX_DEPTH}. Pass a flatter value.")
    raise _TooLarge


def _check_text(text: str, is_key: bool = False) -> None:
    if "\0" in text:
        raise _Refusal("has a NUL character, which PostgreSQL cannot store. Strip it.", is_key)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Refusal(
                "has a lone surrogate, which is not Unicode text. "
                "Decode the bytes with errors='replace'.",
                is_key,
            ) from None


def _cut(value: object) -> str:
    text = repr(value[:100]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 110 else f"{text[:109]}…"


def _advice(value: object) -> str:
    if isinstance(value, Model):
        name = type(value).__name__
        return f"Pass {name.lower()}.pk, and load the row in the job"
    if isinstance(value, QuerySet):
        return "Pass a list of primary keys, and load the rows in the job"
    if isinstance(value, (set, frozenset)):
        return f"Pass a list, {_ANNOTATE}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"Pass text (base64), {_ANNOTATE}"
    advice = "Pass a str, int, float, bool, None, list or dict"
    is_known = dataclasses.is_dataclass(value) or isinstance(value, (enum.Enum, pathlib.PurePath))
    return f"{advice}, {_ANNOTATE}" if is_known or hasattr(value, "model_dump_json") else advice
