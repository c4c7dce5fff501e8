"""JSON that means the same on every database, and the one validator that guards it.

Arguments and results are stored as text, so that what comes back is what went in (``jsonb`` turns
``1e16`` into an integer and sorts keys). The types of ``DjangoJSONEncoder`` (datetime, date, time,
timedelta, Decimal, UUID, lazy strings) come back as strings.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.utils.functional import Promise

from .exceptions import ArgumentError

MAX_DEPTH = 32
# The widest integer that every database's JSON and every client keeps exactly.
MAX_INT = 2**63 - 1

_AS_STRING = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    Promise,
)
_encoder = DjangoJSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def dumps(value: Any, *, where: str, max_bytes: int) -> str:
    """Return *value* as JSON text; *where* names it in the errors.

    Raises :class:`ArgumentError` for what JSON or one of the databases cannot keep: NaN and
    Infinity, NUL characters and lone surrogates, keys that are no strings, integers beyond 64 bits,
    nesting beyond 32, more than *max_bytes* of UTF-8, and objects that are no JSON.
    """
    _check(value, where, 1)
    text = _encoder.encode(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise ArgumentError(
            f"{where} takes {size:,} bytes as JSON, allowed are {max_bytes:,}; "
            "store it in a model or a file and pass its id"
        )
    return text


def dumps_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, max_bytes: int
) -> tuple[str, str]:
    """Return positional and keyword arguments as two JSON texts, validated together."""
    if args:
        for position, value in enumerate(args):
            _check(value, f"argument {position}", 2)
    if kwargs:
        for name, value in kwargs.items():
            _check_text(name, "argument name")
            _check(value, f"argument {name!r}", 2)
    args_text = _encoder.encode(list(args)) if args else "[]"
    kwargs_text = _encoder.encode(dict(kwargs)) if kwargs else "{}"
    size = len(args_text) + len(kwargs_text)
    if not (args_text.isascii() and kwargs_text.isascii()):
        size = len(args_text.encode()) + len(kwargs_text.encode())
    if size > max_bytes:
        raise ArgumentError(
            f"the arguments take {size:,} bytes as JSON, allowed are {max_bytes:,} "
            "(MAX_PAYLOAD_BYTES); store them in a model or a file and pass its id"
        )
    return args_text, kwargs_text


def loads(text: str) -> Any:
    """Return the value of JSON *text*."""
    return json.loads(text)


def _check(value: Any, where: str, depth: int) -> None:
    kind = type(value)
    if value is None or kind is bool:
        return
    if kind is int or isinstance(value, int):
        if not -MAX_INT - 1 <= value <= MAX_INT:
            raise ArgumentError(f"{where} is an integer beyond 64 bits; pass it as a string")
    elif isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ArgumentError(f"{where} is {value!r}, which is no JSON; pass None or a string")
    elif isinstance(value, (list, tuple)):
        _check_depth(where, depth)
        for position, item in enumerate(value):
            _check(item, f"{where}[{position}]", depth + 1)
    elif isinstance(value, dict):
        _check_depth(where, depth)
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(
                    f"{where} has the key {key!r}, JSON keys are strings; pass {str(key)!r}"
                )
            _check_text(key, f"a key of {where}")
            _check(item, f"{where}[{key!r}]", depth + 1)
    elif isinstance(value, _AS_STRING):
        if isinstance(value, decimal.Decimal) and not value.is_finite():
            raise ArgumentError(f"{where} is {value!r}, which is no number; pass None or a string")
        _check_text(str(value), where)
    else:
        raise ArgumentError(f"{where} is {_named(value)}, which is no JSON; {_advice(value)}")


def _check_depth(where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArgumentError(f"{where} is nested deeper than {MAX_DEPTH}; pass a flatter value")


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise ArgumentError(f"{where} has a NUL character, which PostgreSQL cannot store; strip it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ArgumentError(
                f"{where} has a lone surrogate, which is no Unicode text; "
                "decode the bytes with errors='replace'"
            ) from None


def _named(value: object) -> str:
    return f"a {type(value).__name__}"


def _advice(value: object) -> str:
    if isinstance(value, Model):
        name = type(value).__name__
        return f"pass {name.lower()}.pk, not the {name}"
    if isinstance(value, QuerySet):
        return "pass a list of primary keys, not the QuerySet"
    if isinstance(value, (set, frozenset)):
        return "pass a list"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "pass text (base64), or store the bytes in a file and pass its name"
    return "pass a str, int, float, bool, None, list or dict"
