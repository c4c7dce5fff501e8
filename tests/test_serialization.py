from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
import pathlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.exceptions import ArgumentError
from django_jobs.serialization import MAX_DEPTH, dumps, dumps_arguments, loads

pytestmark = pytest.mark.once

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


@pytest.mark.parametrize("text", ["", " ", "[1", "[1] 2", "nul", " [1", '"a', "[1]]", "{1}"])
def test_text_that_is_no_json_is_refused_as_json_refuses_it(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as refused:
        loads(text)
    assert str(refused.value) == str(expected.value)


def test_white_space_around_a_value_is_read() -> None:
    assert loads("\n [1] ") == [1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "is nan, which cannot be stored as JSON"),
        (math.inf, "is inf"),
        ([1, -math.inf], r"it\[1\] is -inf"),
        ("a\0b", "NUL character"),
        ({"a\0b": 1}, "A key of it has a NUL"),
        ("\ud800", "lone surrogate"),
        ({"x": ["\udfff"]}, r"it\['x'\]\[0\] has a lone surrogate"),
        ({1: "one"}, "has the key 1, but JSON keys are strings. Pass '1'"),
        ({None: 1}, "has the key None"),
        (2**63, "beyond 64 bits. Pass it as a string"),
        (-(2**63) - 1, "beyond 64 bits"),
        (decimal.Decimal("NaN"), "not a number"),
        (decimal.Decimal("Infinity"), "not a number"),
        (datetime.time(1, tzinfo=datetime.UTC), "is a time with a time zone"),
        (
            {1, 2},
            "is a set, which cannot be stored as JSON. Pass a list, or annotate the parameter",
        ),
        (pathlib.Path("a"), "list or dict, or annotate the parameter or the result with its type"),
        (b"bytes", "base64"),
        (object(), "Pass a str, int, float, bool, None, list or dict"),
        (nested(MAX_DEPTH + 1), "nested deeper than 32"),
    ],
)
def test_what_a_database_cannot_keep_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        dumps(value, where="it", max_bytes=BIG)


def test_a_model_is_refused_with_advice() -> None:
    with pytest.raises(ArgumentError, match=r"Pass user\.pk, and load the row in the job\."):
        dumps([User()], where="argument 0", max_bytes=BIG)


def test_a_queryset_is_refused_without_a_query() -> None:
    with pytest.raises(ArgumentError, match="list of primary keys"):
        dumps(User.objects.all(), where="argument 0", max_bytes=BIG)


def test_depth_of_32_is_accepted_and_counts_the_argument_list() -> None:
    assert loads(dumps(nested(MAX_DEPTH), where="it", max_bytes=BIG)) == nested(MAX_DEPTH)
    dumps_arguments([nested(MAX_DEPTH - 1)], {}, max_bytes=BIG)
    with pytest.raises(ArgumentError, match=r"Argument 0.* nested deeper"):
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
    with pytest.raises(ArgumentError, match="it takes more than 10 bytes as JSON, allowed are 10"):
        dumps("é" * 9, where="it", max_bytes=10)


def test_arguments_share_one_limit() -> None:
    assert dumps_arguments(["aa"], {"b": "c"}, max_bytes=15) == ('["aa"]', '{"b":"c"}')
    with pytest.raises(ArgumentError, match="The arguments take more than 14 bytes as JSON"):
        dumps_arguments(["aa"], {"b": "c"}, max_bytes=14)
    with pytest.raises(ArgumentError, match="The arguments take 17 bytes as JSON, allowed are 16"):
        dumps_arguments(["ää"], {"b": "c"}, max_bytes=16)


def test_argument_error_names_the_argument() -> None:
    with pytest.raises(ArgumentError, match="Argument 1 is"):
        dumps_arguments([1, math.nan], {}, max_bytes=BIG)
    with pytest.raises(ArgumentError, match=r"Argument 'when'\['x'\] is"):
        dumps_arguments([], {"when": {"x": {1}}}, max_bytes=BIG)


def test_text_is_real_json() -> None:
    text = dumps({"a": [1, 1e16, "ü", None, True]}, where="it", max_bytes=BIG)
    assert json.loads(text) == {"a": [1, 1e16, "ü", None, True]}
    assert " " not in text


# --- what hostile input costs ---------------------------------------------------------------------


def calls(function: Callable[[], Any]) -> int:
    """How many calls *function* makes, of Python's and of C's."""
    number = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return number


class Key(str):
    """A key that counts how often a path is made of it."""

    named = 0

    def __repr__(self) -> str:
        Key.named += 1
        return super().__repr__()


@pytest.mark.parametrize("make", [
    lambda size: {"A" * size: [1] * size},
    lambda size: [[1] * 10] * (size // 10),
    lambda size: {f"{number}": "x" for number in range(size // 10)},
    lambda size: "\u00e9" * size,
])  # fmt: skip
def test_twice_the_value_costs_twice(make: Callable[[int], Any]) -> None:
    once, twice = (
        calls(functools.partial(dumps, value, where="it", max_bytes=BIG))
        for value in (make(10_000), make(20_000))
    )
    assert twice <= 2.2 * once


def test_no_path_is_made_for_values_that_are_right() -> None:
    Key.named = 0
    dumps({Key("A" * 1000): {Key("B"): [1, [2]]}}, where="it", max_bytes=BIG)
    dumps_arguments([{Key("a"): [1]}], {Key("b"): [2]}, max_bytes=BIG)
    assert Key.named == 0


@pytest.mark.parametrize("value", [
    [1] * 1_200_000, [[1]] * 600_000, "x" * 2_400_000, {"A" * 1_200_000: [1] * 600_000},
    [["x" * 1000] * 1000] * 3,
])  # fmt: skip
def test_what_is_far_too_large_is_refused_before_it_is_looked_into(value: Any) -> None:
    def refuse() -> None:
        with pytest.raises(ArgumentError, match="more than 262,144 bytes"):
            dumps_arguments([value], {}, max_bytes=256 * 1024)

    assert calls(refuse) < 2_000


@given(values)
def test_what_just_fits_is_accepted(value: Any) -> None:
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    dumps(value, where="it", max_bytes=size)
    with pytest.raises(ArgumentError, match="allowed are"):
        dumps(value, where="it", max_bytes=size - 1)


def test_long_key_is_cut_in_the_error() -> None:
    with pytest.raises(ArgumentError) as caught:
        dumps({"A" * 10_000: [math.nan]}, where="it", max_bytes=BIG)
    assert len(str(caught.value)) < 300
