from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.exceptions import ArgumentError
from django_jobs.serialization import MAX_DEPTH, dumps, dumps_arguments, loads

BIG = 1_000_000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_comes_back_is_what_went_in(value: Any) -> None:
    back = loads(dumps(value, where="it", max_bytes=BIG))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "is nan, which is no JSON"),
        (math.inf, "is inf"),
        ([1, -math.inf], r"it\[1\] is -inf"),
        ("a\0b", "NUL character"),
        ({"a\0b": 1}, "a key of it has a NUL"),
        ("\ud800", "lone surrogate"),
        ({"x": ["\udfff"]}, r"it\['x'\]\[0\] has a lone surrogate"),
        ({1: "one"}, "has the key 1, JSON keys are strings; pass '1'"),
        ({None: 1}, "has the key None"),
        (2**63, "beyond 64 bits; pass it as a string"),
        (-(2**63) - 1, "beyond 64 bits"),
        (decimal.Decimal("NaN"), "no number"),
        (decimal.Decimal("Infinity"), "no number"),
        ({1, 2}, "is a set, which is no JSON; pass a list"),
        (b"bytes", "base64"),
        (object(), "pass a str, int, float, bool, None, list or dict"),
        (nested(MAX_DEPTH + 1), "nested deeper than 32"),
    ],
)
def test_what_a_database_cannot_keep_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        dumps(value, where="it", max_bytes=BIG)


def test_a_model_is_refused_with_advice() -> None:
    with pytest.raises(ArgumentError, match=r"pass user\.pk, not the User"):
        dumps([User()], where="argument 0", max_bytes=BIG)


def test_a_queryset_is_refused_without_a_query() -> None:
    with pytest.raises(ArgumentError, match="list of primary keys"):
        dumps(User.objects.all(), where="argument 0", max_bytes=BIG)


def test_depth_of_32_is_accepted_and_counts_the_argument_list() -> None:
    assert loads(dumps(nested(MAX_DEPTH), where="it", max_bytes=BIG)) == nested(MAX_DEPTH)
    dumps_arguments([nested(MAX_DEPTH - 1)], {}, max_bytes=BIG)
    with pytest.raises(ArgumentError, match=r"argument 0.* nested deeper"):
        dumps_arguments([nested(MAX_DEPTH)], {}, max_bytes=BIG)


def test_endless_nesting_is_refused_not_followed() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ArgumentError, match="nested deeper"):
        dumps(value, where="it", max_bytes=BIG)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.UTC), "2026-01-02T03:04:05.678Z"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(days=1, seconds=2), "P1DT00H00M02S"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (gettext_lazy("job"), "job"),
    ],
)
def test_types_of_django_come_back_as_strings(value: Any, text: str) -> None:
    assert loads(dumps(value, where="it", max_bytes=BIG)) == text


def test_tuples_come_back_as_lists() -> None:
    assert loads(dumps((1, (2,)), where="it", max_bytes=BIG)) == [1, [2]]


def test_size_is_counted_in_bytes_not_characters() -> None:
    assert dumps("é" * 4, where="it", max_bytes=10) == '"éééé"'
    with pytest.raises(ArgumentError, match="it takes 12 bytes as JSON, allowed are 10"):
        dumps("é" * 5, where="it", max_bytes=10)


def test_arguments_share_one_limit() -> None:
    assert dumps_arguments(["aa"], {"b": "c"}, max_bytes=15) == ('["aa"]', '{"b":"c"}')
    with pytest.raises(ArgumentError, match="the arguments take 15 bytes as JSON, allowed are 14"):
        dumps_arguments(["aa"], {"b": "c"}, max_bytes=14)


def test_argument_error_names_the_argument() -> None:
    with pytest.raises(ArgumentError, match="argument 1 is"):
        dumps_arguments([1, math.nan], {}, max_bytes=BIG)
    with pytest.raises(ArgumentError, match=r"argument 'when'\['x'\] is"):
        dumps_arguments([], {"when": {"x": {1}}}, max_bytes=BIG)


def test_text_is_real_json() -> None:
    text = dumps({"a": [1, 1e16, "ü", None, True]}, where="it", max_bytes=BIG)
    assert json.loads(text) == {"a": [1, 1e16, "ü", None, True]}
    assert " " not in text
