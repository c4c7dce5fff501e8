# ruff: noqa: DTZ001, DTZ901 - naive values come back, too
"""Values go into JSON and come back equal, by the annotations of a job function."""

import collections
import collections.abc
import contextlib
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import sys
import typing
import uuid
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs.define.annotations import Converters, hints_of
from django_jobs.define.converters import UNKNOWN, Mismatch, converts
from django_jobs.exceptions import ArgumentError
from django_jobs.serialization import dumps

pytestmark = pytest.mark.once


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


class Word(enum.StrEnum):
    A = "a"
    B = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Planet(enum.Enum):
    EARTH = (1.0, 2)
    MARS = (0.5, 3)


class Point(NamedTuple):
    x: decimal.Decimal
    day: datetime.date | None = None


@dataclasses.dataclass
class Line:
    price: decimal.Decimal
    number: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    id: uuid.UUID
    lines: list[Line] = dataclasses.field(default_factory=list)
    when: datetime.datetime | None = None
    tags: frozenset[str] = frozenset()
    total: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass
class Detailed(Line):
    note: bytes = b""


@dataclasses.dataclass
class Tree:
    day: datetime.date
    children: list["Tree"] = dataclasses.field(default_factory=list)


T = typing.TypeVar("T")


@dataclasses.dataclass
class Box(typing.Generic[T]):
    content: T
    more: list[T]


class Payload(TypedDict, total=False):
    when: datetime.datetime
    parts: list["Payload"]
    note: typing.Required[str]


Price = NewType("Price", decimal.Decimal)


def same(hint: Any, value: Any) -> Any:
    """Return *value* after its way through JSON text."""
    converter = Converters().of(hint)
    text = dumps(converter.encode(value), where="it", max_bytes=10**6)
    return converter.decode(json.loads(text))


def zones() -> st.SearchStrategy[datetime.timezone | None]:
    # Whole seconds: Python itself takes an offset of microseconds for UTC.
    seconds = st.integers(1 - 24 * 60 * 60, 24 * 60 * 60 - 1)
    offsets = seconds.map(lambda number: datetime.timedelta(seconds=number))
    return st.none() | st.just(datetime.UTC) | offsets.map(datetime.timezone)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    datetime.datetime: st.datetimes(timezones=zones()),
    datetime.date: st.dates(),
    datetime.time: st.times(timezones=zones()),
    datetime.timedelta: st.timedeltas(),
    decimal.Decimal: st.decimals(),
    Price: st.decimals(allow_nan=False),
    uuid.UUID: st.uuids(),
    pathlib.Path: TEXT.map(pathlib.Path),
    pathlib.PurePosixPath: TEXT.map(pathlib.PurePosixPath),
    bytes: st.binary(max_size=20),
    bytearray: st.binary(max_size=20).map(bytearray),
    Color: st.sampled_from(Color),
    Word: st.sampled_from(Word),
    Level: st.sampled_from(Level),
    Rights: st.sampled_from([Rights(0), *Rights, Rights.READ | Rights.WRITE]),
    Planet: st.sampled_from(Planet),
    Literal[Word.A, 3, b"x"]: st.sampled_from([Word.A, 3, b"x"]),
    Point: st.builds(Point, st.decimals(allow_nan=False), st.none() | st.dates()),
    Line: st.builds(Line, st.decimals(allow_nan=False), st.integers(-9, 9)),
    str: TEXT,
    int: st.integers(-(2**63), 2**63 - 1),
}
# A signaling NaN has no hash.
HASHABLE = [hint for hint in LEAVES if hint not in (bytearray, Line, decimal.Decimal)]


def composed(
    pairs: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]],
) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """Annotations made of others, each with its values."""

    def of_one(pair: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
        hint, values = pair
        lists = st.lists(values, max_size=3)
        return st.sampled_from(
            [
                (list[hint], lists),
                (collections.abc.Sequence[hint], lists),
                (collections.abc.Iterable[hint], lists),
                (collections.deque[hint], lists.map(collections.deque)),
                (tuple[hint, ...], lists.map(tuple)),
                (tuple[hint, int], st.tuples(values, LEAVES[int])),
                (dict[str, hint], st.dictionaries(TEXT, values, max_size=3)),
                (collections.abc.Mapping[str, hint], st.dictionaries(TEXT, values, max_size=3)),
                (hint | None, st.none() | values),
                (typing.Annotated[hint, "words"], values),
                (Box[hint], st.builds(Box, values, lists)),
            ]
        )

    return pairs.flatmap(of_one)


def keyed(hint: Any) -> st.SearchStrategy[Any]:
    values = LEAVES[hint]
    return st.sampled_from(
        [
            (set[hint], st.sets(values, max_size=3)),
            (frozenset[hint], st.frozensets(values, max_size=3)),
            (dict[hint, int], st.dictionaries(values, LEAVES[int], max_size=3)),
            (dict[hint, decimal.Decimal], st.dictionaries(values, LEAVES[Price], max_size=3)),
        ]
    )


ANNOTATED = st.recursive(
    st.sampled_from(list(LEAVES)).map(lambda hint: (hint, LEAVES[hint]))
    | st.sampled_from(HASHABLE).flatmap(keyed),
    composed,
    max_leaves=3,
)


def shown(value: Any) -> str:
    # NaN is not equal to itself, and neither is what contains it. The order of a set may differ.
    if isinstance(value, (set, frozenset)):
        return f"{type(value)} {sorted(map(repr, value))}"
    return repr(value)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_values_come_back_as_they_were(data: st.DataObject) -> None:
    hint, values = data.draw(ANNOTATED)
    value = data.draw(values)
    back = same(hint, value)
    assert type(back) is type(value)
    assert shown(back) == shown(value) or back == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["price", "lines", "id"]), inner)
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ANNOTATED, JSON)
def test_json_is_sent_as_it_is_and_converts_or_is_a_mismatch(pair: Any, value: Any) -> None:
    converter = Converters().of(pair[0] | int | dict[str, pair[0]])
    assert repr(converter.encode(value)) == repr(value)
    with contextlib.suppress(Mismatch):
        converter.decode(value)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_value_of_another_annotation_is_refused_at_most(data: st.DataObject) -> None:
    converter = Converters().of(data.draw(ANNOTATED)[0])
    value = data.draw(data.draw(ANNOTATED)[1])
    with contextlib.suppress(ArgumentError, Mismatch):
        converter.decode(json.loads(dumps(converter.encode(value), where="it", max_bytes=10**6)))


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("1.10"),
        decimal.Decimal("-0.00"),
        decimal.Decimal("1E+50"),
        decimal.Decimal("NaN"),
        decimal.Decimal("-sNaN12"),
        decimal.Decimal("Infinity"),
        decimal.Decimal("0." + "123456789" * 9),
        datetime.timedelta.min,
        datetime.timedelta.max,
        -datetime.timedelta(microseconds=1),
        datetime.datetime(2030, 1, 2, 3, 4, 5, 6, datetime.UTC),
        datetime.datetime.max,
        datetime.time(1, 2, 3, 4, datetime.timezone(datetime.timedelta(hours=-3, seconds=1))),
    ],
)
def test_no_digit_is_lost(value: Any) -> None:
    back = same(type(value), value)
    assert (type(back), repr(back)) == (type(value), repr(value))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Order, Order(id=uuid.uuid4(), lines=[Line(decimal.Decimal("1.0"))], tags=frozenset("ab"))),
        (Detailed, Detailed(decimal.Decimal(2), 3, b"\xff")),
        (Tree, Tree(datetime.date(2030, 1, 1), [Tree(datetime.date(2031, 1, 1))])),
        (Box[datetime.date], Box(datetime.date.min, [datetime.date.max])),
        (Payload, {"note": "n", "parts": [{"when": datetime.datetime.max, "note": ""}]}),
        (list[Line] | dict[str, Line], {"a": Line(decimal.Decimal(1))}),
        (Line | Order, Order(id=uuid.UUID(int=1))),
        (datetime.datetime | datetime.date, datetime.date(2030, 1, 1)),
        (datetime.date | datetime.datetime, datetime.datetime(2030, 1, 1, 5)),
        (list[datetime.date] | list[datetime.datetime], [datetime.datetime(2030, 1, 1)]),
        (decimal.Decimal | uuid.UUID, uuid.UUID(int=12)),
        (int | decimal.Decimal, decimal.Decimal(5)),
        (int | decimal.Decimal, 5),
        (set[int] | None, {1, 2}),
        (set, {1, "a", None}),
        (tuple, (1, "a")),
        (tuple[()], ()),
        (dict[bool, int], {True: 1}),
        (dict[tuple[int, datetime.date], int], {(1, datetime.date.max): 1}),
        (dict[float, str], {1.5: "a"}),
        (typing.Final[datetime.date], datetime.date.max),
        (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
        (datetime.date, datetime.datetime(2030, 1, 1, 5)),
    ],
)  # fmt: skip
def test_composed_values_come_back(hint: Any, value: Any) -> None:
    back = same(hint, value)
    assert (type(back), back) == (type(value), value)


@pytest.mark.parametrize(
    "hint",
    [
        tuple[int, *tuple[decimal.Decimal, ...]],
        tuple[int, typing.Unpack[tuple[decimal.Decimal, ...]]],  # noqa: UP044
        tuple[*tuple[int, ...]],
    ],
)
def test_tuple_that_unpacks_another_takes_any_number_of_values(hint: Any) -> None:
    converter = Converters().of_annotation(hint)
    for value in [(), (1,), (1, 2, 3)]:
        assert converter.decode(json.loads(json.dumps(converter.encode(value)))) == value


def test_set_has_one_json_in_every_process() -> None:
    letters = "qwertyuiopasdfghjklzxcvbnm"
    assert Converters().of(set[str]).encode(set(letters)) == sorted(letters)


@pytest.mark.parametrize(
    "hint",
    [
        int, str, float, bool, None, Any, object, list, dict, list[int], dict[str, Any],
        Literal["a", 1], Literal["a"] | None, int | str | None, collections.abc.Sequence[str],
        collections.abc.Callable[[], int], type[int], T, NewType("Id", int),
    ],
)  # fmt: skip
def test_annotation_that_json_keeps_has_no_converter(hint: Any) -> None:
    assert not converts(Converters().of(hint))


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (datetime.date, "soon", "it must be a date, and a str arrived that does not convert."),
        (datetime.datetime, 5, "it must be a datetime, and an int arrived"),
        (decimal.Decimal, True, "it must be a Decimal, and a bool arrived"),
        (bytes, "#", "it must be a bytes"),
        (Word, "c", "it must be a Word ('a', 'b'), and a str arrived"),
        (Planet, [1.0, 2], "it must be a Planet ('EARTH', 'MARS'), and a list arrived"),
        (Rights, 64, "it must be a Rights"),
        (list[datetime.date], ["2030-01-01", None], "it[1] must be a date, and a NoneType"),
        (dict[str, uuid.UUID], {"k-secret": "1"}, "it[…] must be a UUID"),
        (dict[int, str], {"a": ""}, "it must be a dict with keys that are"),
        (uuid.UUID | None, "1", "it must be a UUID or None"),
        (Order, {"id": str(uuid.UUID(int=1)), "lines": [{"price": "x"}]},
         "it.lines[0].price must be a Decimal"),
        (Line, {}, "it must be a Line, which raised TypeError"),
        (Line, {"price": "1", "prize": 1}, "it must be a Line, which has no field 'prize'"),
        (Line, {Rights.READ: 1, Rights.WRITE: 1}, "it must be a Line, which has no field <Rights."),
        (Line, [], "it must be a Line, and a list"),
        (Payload, {"parts": [{"when": 1}]}, "it['parts'][0]['when'] must be a datetime"),
        (Point, ["1", None, 3], "it must be a Point of 2 values"),
        (tuple[int, ...], "12", "it must be a list"),
        (set, [[1]], "it must be a list of hashable values"),
    ],
)  # fmt: skip
def test_mismatch_says_where_and_which_type_but_no_value(hint: Any, value: Any, text: str) -> None:
    with pytest.raises(Mismatch) as caught:
        Converters().of(hint).decode(value)
    message = caught.value.message("it", "f")
    start, _must, rest = text.partition(" must")
    assert message.startswith(f"Argument 'it'{start[2:]} of f must{rest}")
    assert "secret" not in message


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (datetime.datetime, "2030-01-01"), (decimal.Decimal, 1.5), (list[uuid.UUID], "x"),
        (Line, {"price": "1"}), (Word, "nope"), (int | str, "5"), (set[int], [1]),
    ],
)  # fmt: skip
def test_value_of_another_type_is_sent_as_it_is(hint: Any, value: Any) -> None:
    assert Converters().of(hint).encode(value) == value


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[int] | set[int], {1}),
        (set, {(1, 2)}),
        (dict[int | str, int], {1: 2}),
        (set[datetime.datetime], {datetime.date.max}),
        (dict[datetime.datetime, int] | None, {datetime.date.max: 1}),
        (Line, Detailed(decimal.Decimal(1))),
    ],
)
def test_value_that_would_come_back_as_another_is_not_encoded(hint: Any, value: Any) -> None:
    assert Converters().of(hint).encode(value) == value


def test_dataclass_with_an_initvar_is_refused() -> None:
    @dataclasses.dataclass
    class Shipment:
        id: int
        country: dataclasses.InitVar[str]

    with pytest.raises(ArgumentError, match="a Shipment takes 'country'"):
        Converters().of(Shipment).encode(Shipment(1, "DE"))


def test_field_whose_annotation_loses_the_value_is_refused() -> None:
    @dataclasses.dataclass
    class Loose:
        price: Any

    with pytest.raises(ArgumentError, match=r"Loose\.price is a Decimal"):
        Converters().of(Loose).encode(Loose(decimal.Decimal(1)))
    assert same(Loose, Loose("1")) == Loose("1")


def test_annotation_that_cannot_be_read_changes_nothing() -> None:
    class Shy(enum.Enum):
        A = 1

        def __repr__(self) -> str:
            raise RuntimeError

        @property
        def value(self) -> Any:
            raise RuntimeError

    assert Converters().of_annotation(list[Shy]) is UNKNOWN


def test_annotation_that_cannot_be_evaluated_leaves_the_others() -> None:
    def bill(amount: "decimal.Decimal", client: "Nowhere") -> "uuid.UUID": ...  # type: ignore # noqa: F821

    assert hints_of(bill) == {"amount": decimal.Decimal, "return": uuid.UUID}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type X = … is of Python 3.12")
def test_aliases_of_python_3_12_are_what_they_stand_for() -> None:
    names: dict[str, Any] = {"datetime": datetime, "__name__": __name__}
    exec(
        "type Day = datetime.date\n"
        "type Days[T] = dict[T, list[Day]]\n"
        "type Nested = list[Nested] | Day\n"
        "type Plain = list[Plain] | int",
        names,
    )
    days = {datetime.date.max: [datetime.date.min]}
    assert same(names["Days"][datetime.date], days) == days
    nested = [datetime.date.max, [[datetime.date.min]]]
    assert same(names["Nested"], nested) == nested
    assert not converts(Converters().of(names["Plain"]))
