"""The body gets its arguments, and callers get results, in the types of the annotations."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import typing
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from django_jobs import chain, chord, control, group, job
from django_jobs.api.result import AsyncResult
from django_jobs.beat.sync import synchronize
from django_jobs.control import schedules
from django_jobs.define import registry
from django_jobs.define.sensitive import secrets_of
from django_jobs.enqueue.rows import rows_of
from django_jobs.exceptions import ArgumentError
from django_jobs.models import Attempt, Job, Schedule
from django_jobs.schedules.validation import problems
from django_jobs.testing import assert_enqueued, assert_not_enqueued, captured_jobs
from django_jobs.values import Outcome

if typing.TYPE_CHECKING:
    from decimal import Decimal as Unimported

pytestmark = pytest.mark.django_db

WHEN = datetime.datetime(
    2030, 1, 2, 3, 4, 5, 678901, datetime.timezone(datetime.timedelta(hours=5))
)
PRICE = decimal.Decimal("9.90")
KEY = uuid.UUID(int=7)


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Line:
    price: decimal.Decimal
    tags: frozenset[str] = frozenset()


got: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_got() -> None:
    got.clear()


@job(name="tests.typed.keep")
def keep(
    when: datetime.datetime,
    price: decimal.Decimal,
    /,
    color: Color,
    lines: list[Line],
    plain: Any = None,
    day: datetime.date = None,  # type: ignore[assignment]  # noqa: RUF013
    *more: uuid.UUID,
    data: bytes = b"default",
    by_key: dict[int, pathlib.Path] | None = None,
    **left: datetime.timedelta,
) -> None:
    got.append((when, price, color, lines, plain, day, more, data, by_key, left))


@job(name="tests.typed.double")
def double(line: Line, factor: decimal.Decimal = decimal.Decimal(2)) -> Line:
    return dataclasses.replace(line, price=line.price * factor)


@job(name="tests.typed.async_double")
async def async_double(line: Line) -> Line:
    return dataclasses.replace(line, price=line.price * 2)


@job(name="tests.typed.bound", bind=True)
def bound(self: Any, when: datetime.datetime) -> datetime.datetime:
    got.append(self.request.args)
    return when


@job(name="tests.typed.atomic", atomic=True)
def atomic(when: datetime.datetime) -> set[datetime.datetime]:
    return {when}


@job(name="tests.typed.total")
def total(lines: list[Line]) -> decimal.Decimal:
    return sum((line.price for line in lines), decimal.Decimal(0))


@job(name="tests.typed.tagged")
def tagged(line: Line, tags: set[str]) -> Line:
    return dataclasses.replace(line, tags=line.tags | tags)


@job(name="tests.typed.half")
def half(known: uuid.UUID, unknown: "Unimported") -> "Unimported":
    got.append((known, unknown))
    return unknown


@job(name="tests.typed.untyped")
def untyped(a, b=1, *args, **kwargs):  # type: ignore[no-untyped-def]
    return a


def finished(result: AsyncResult[Any]) -> Any:
    """Return the result, for a handle that knows only the id, too."""
    value = result.get(timeout=0)
    assert AsyncResult[Any](result.id).get(timeout=0) == value
    assert AsyncResult[Any](result.id).result == value
    assert AsyncResult[Any](result.id).info == value
    return value


ARGS = (WHEN, PRICE, Color.RED, [Line(PRICE, frozenset("ab"))], WHEN, WHEN.date(), KEY, KEY)
KWARGS = {
    "data": b"\0\xff",
    "by_key": {1: pathlib.Path("a/b")},
    "wait": datetime.timedelta(microseconds=-1),
}


@pytest.mark.parametrize("eager", [False, True])
def test_body_gets_what_the_caller_sent(eager: bool, drain: Callable[..., Any]) -> None:
    if eager:
        assert keep.apply(ARGS, KWARGS).successful()
    else:
        keep.delay(*ARGS, **KWARGS)
        drain()
    when, price, color, lines, plain, day, more, data, by_key, left = got.pop()
    assert (when, when.utcoffset()) == (WHEN, WHEN.utcoffset())
    assert str(price) == "9.90"
    assert (color, lines, day) == (Color.RED, [Line(PRICE, frozenset("ab"))], WHEN.date())
    assert plain == "2030-01-02T03:04:05.678+05:00"  # without an annotation as ever
    assert (more, data, by_key) == ((KEY, KEY), KWARGS["data"], KWARGS["by_key"])
    assert left == {"wait": KWARGS["wait"]}


def test_defaults_and_none_are_left_alone(drain: Callable[..., Any]) -> None:
    keep.delay(WHEN, PRICE, Color.RED, [])
    keep.delay(WHEN, PRICE, Color.RED, [], None, None)
    drain()
    for _ in range(2):
        assert got.pop()[4:] == (None, None, (), b"default", None, {})


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("function", [double, async_double])
def test_result_comes_back(function: Any, eager: bool, drain: Callable[..., Any]) -> None:
    if eager:
        assert function.apply((Line(PRICE),)).get() == Line(PRICE * 2)
        return
    result = function.delay(Line(PRICE))
    drain()
    assert finished(result) == Line(decimal.Decimal("19.80"))
    assert Job.objects.get().result == {"price": "19.80", "tags": []}
    assert asyncio.run(asynchronous(result)) == Line(PRICE * 2)


async def asynchronous(result: AsyncResult[Any]) -> Any:
    return result._value(propagate=True)


@pytest.mark.parametrize(("function", "value"), [(bound, WHEN), (atomic, {WHEN})])
def test_bound_and_atomic_jobs_get_types(
    function: Any, value: Any, drain: Callable[..., Any]
) -> None:
    result = function.delay(WHEN)
    drain()
    assert finished(result) == value
    assert got == ([[WHEN]] if function is bound else [])


@pytest.mark.parametrize("eager", [False, True])
def test_links_and_chord_bodies_get_types(eager: bool, drain: Callable[..., Any]) -> None:
    three = decimal.Decimal(3)
    canvas = chord(
        [double.s(Line(PRICE)), chain(double.si(Line(PRICE), three), double.s(factor=three))],
        total.s(),
    )
    result = canvas.apply() if eager else canvas.apply_async()
    drain()
    assert result.get(timeout=0) == PRICE * 2 + PRICE * 9


class Options(typing.TypedDict, total=False):
    when: datetime.datetime
    name: str


@job
def take_options(price: decimal.Decimal, **options: typing.Unpack[Options]) -> None:
    got.append((price, options))


def test_unpacked_typed_dict_annotates_each_keyword(drain: Callable[..., Any]) -> None:
    result = take_options.delay(PRICE, when=WHEN, name="x")
    drain()
    assert got == [(PRICE, {"when": WHEN, "name": "x"})]
    assert result.job.kwargs == {"when": WHEN.isoformat(), "name": "x"}


def test_each_of_many_calls_is_converted(drain: Callable[..., Any]) -> None:
    results = double.delay_many([(Line(PRICE),), {"line": Line(PRICE), "factor": PRICE}])
    drain()
    assert [each.get(timeout=0).price for each in results] == [PRICE * 2, PRICE * PRICE]


def test_argument_after_a_result_has_its_own_annotation(drain: Callable[..., Any]) -> None:
    result = (double.s(Line(PRICE)) | tagged.s({"a", "b"})).apply_async()
    drain()
    assert result.get(timeout=0) == Line(PRICE * 2, frozenset("ab"))


@pytest.mark.parametrize("eager", [False, True])
def test_group_and_map_give_types(eager: bool, drain: Callable[..., Any]) -> None:
    members = group(double.s(Line(PRICE)), double.s(Line(PRICE), decimal.Decimal(1)))
    mapped = double.map([Line(PRICE)]) | total.s()
    starred = double.starmap([(Line(PRICE), decimal.Decimal(1))]) | total.s()
    results = [each.apply() if eager else each.apply_async() for each in (members, mapped, starred)]
    drain()
    assert results[0].get(timeout=0) == [Line(PRICE * 2), Line(PRICE)]
    assert [each.get(timeout=0) for each in results[1:]] == [PRICE * 2, PRICE]


def test_name_that_only_type_checkers_import_is_no_annotation(drain: Callable[..., Any]) -> None:
    result = half.delay(KEY, PRICE)
    drain()
    assert got == [(KEY, "9.90")]
    assert finished(result) == "9.90"


def test_text_is_taken_for_a_type_as_before(drain: Callable[..., Any]) -> None:
    result = bound.delay("2030-01-02T03:04:05Z")  # type: ignore[arg-type]
    drain()
    assert finished(result) == datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@pytest.mark.parametrize("eager", [False, True])
def test_argument_that_does_not_convert_is_a_failure(
    eager: bool, registered: dict[str, Any], run: Callable[..., Outcome]
) -> None:
    @job(name="tests.typed.strict", autoretry_for=[Exception])
    def strict(token: decimal.Decimal) -> None:
        got.append(token)

    if eager:
        result: Any = strict.apply(("sesame-open",))
        assert isinstance(result.result, ArgumentError)
        message = str(result.result)
    else:
        outcome = run(strict, "sesame-open")
        row = Job.objects.get()
        assert (outcome.status, row.status, row.retries) == ("FAILURE", "FAILURE", 0)
        assert row.error_class == "django_jobs.exceptions.ArgumentError"
        message = row.error_message
    assert message == (
        "Argument 'token' of tests.typed.strict must be a Decimal, and a str arrived that does "
        "not convert."
    )
    assert not got


def test_result_of_another_type_stays_as_it_is(
    registered: dict[str, Any], drain: Callable[..., Any]
) -> None:
    @job(name="tests.typed.liar")
    def liar() -> datetime.date:
        return "soon"  # type: ignore[return-value]

    result = liar.delay()
    drain()
    assert finished(result) == "soon"


def test_result_that_cannot_be_read_is_a_failure(
    registered: dict[str, Any], run: Callable[..., Outcome]
) -> None:
    @job(name="tests.typed.loose")
    def loose() -> "Loose":
        return Loose(PRICE)

    assert run(loose).status == "FAILURE"
    assert "The result: Loose.price is a Decimal" in Job.objects.get().error_message


@dataclasses.dataclass
class Loose:
    price: Any


def test_functions_without_such_annotations_have_no_types() -> None:
    @typing.no_type_check
    def plain(a: int, b: str, c: list[int], d: dict[str, Any], *e: bool, **f: float) -> list: ...

    for function in (untyped, job(name="tests.typed.plain")(plain)):
        assert (function.argument_types, function.result_type) == (None, None)
    registry._functions.pop("tests.typed.plain")


def test_arguments_without_annotations_are_the_same_bytes() -> None:
    args = [WHEN, PRICE, KEY, WHEN.date(), datetime.timedelta(1), "é", (1, [2])]
    (row,) = rows_of(untyped, [(args, {"k": WHEN})], {})
    assert row.args == (
        '["2030-01-02T03:04:05.678+05:00","9.90","00000000-0000-0000-0000-000000000007",'
        '"2030-01-02","P1DT00H00M00S","é",[1,[2]]]'
    )
    assert row.kwargs == '{"k":"2030-01-02T03:04:05.678+05:00"}'


def test_row_holds_plain_json() -> None:
    keep.delay(*ARGS[:4])
    (row,) = Job.objects.all()
    assert row.args[:3] == ["2030-01-02T03:04:05.678901+05:00", "9.90", "red"]
    assert json.dumps(row.args[3]) == '[{"price": "9.90", "tags": ["a", "b"]}]'


# --- keys ---------------------------------------------------------------------------------------


@job(name="tests.typed.once", unique=True)
def once(line: Line, when: datetime.datetime = WHEN) -> None: ...


@job(name="tests.typed.by_day", unique=True, unique_key=lambda when, **_: when.date())
def by_day(when: datetime.datetime, other: decimal.Decimal = PRICE) -> None: ...


@job(
    name="tests.typed.limited",
    concurrency=1,
    concurrency_key=lambda line: line.price,
    rate_limit="100/s",
    rate_limit_key=["line"],
)
def limited(line: Line) -> Line:
    return line


def test_unique_key_is_made_of_the_body_s_values() -> None:
    a, b = "a", "b"
    first = once.delay(Line(PRICE, frozenset([a, b])))
    same = once.delay(Line(PRICE, frozenset([b, a])), when=WHEN)
    text = once.apply_async([{"price": "9.90", "tags": [b, a]}, WHEN.isoformat()])
    assert first.id == same.id == text.id
    assert once.delay(Line(decimal.Decimal("9.91"))).id != first.id


def test_key_function_gets_the_body_s_values() -> None:
    first = by_day.delay(WHEN)
    assert by_day.apply_async([WHEN.isoformat()]).id == first.id
    assert by_day.delay(WHEN + datetime.timedelta(1)).id != first.id
    with pytest.raises(AttributeError):  # the key function's, as a text has no date()
        by_day.apply_async(["soon"])


@job(
    name="tests.typed.by_color",
    unique=True,
    unique_key=lambda color, path: (color, {"path": path}),
    concurrency=1,
    concurrency_key=lambda color, path: color,
    rate_limit="1/h",
    rate_limit_key=lambda color, path: color,
)
def by_color(color: Color, path: pathlib.Path) -> None: ...


def test_key_functions_may_return_what_they_get(drain: Callable[..., Any]) -> None:
    control.set_limits("tests.typed.by_color", rate_limit="2/h", key=Color.RED)
    one, same, other = (by_color.delay(Color.RED, pathlib.Path(name)) for name in "aab")
    assert one.id == same.id != other.id
    drain()
    assert {each.status for each in (one, other)} == {"SUCCESS"}


def test_keys_of_limits_are_made_of_the_body_s_values(drain: Callable[..., Any]) -> None:
    results = [limited.delay(Line(PRICE)), limited.apply_async([{"price": "9.90"}])]
    drain()
    assert [finished(each) for each in results] == [Line(PRICE)] * 2


def test_limited_job_whose_argument_does_not_convert_fails(run: Callable[..., Outcome]) -> None:
    assert run(limited, {"price": "x"}).status == "FAILURE"
    assert "[0]" not in Job.objects.get().error_message
    assert "Argument 'line'.price of" in Job.objects.get().error_message


def test_routes_get_the_body_s_values(settings: Any) -> None:
    def route(name: str, args: Any, kwargs: Any) -> dict[str, Any]:
        return {"queue": "cheap" if args[0].price < 10 else "dear"}

    settings.DJANGO_JOBS = {"ROUTES": [route]}
    assert double.delay(Line(PRICE)).job.queue == "cheap"
    assert double.apply_async([{"price": "10"}]).job.queue == "dear"


def test_limit_of_a_key_is_set_by_the_body_s_value(drain: Callable[..., Any]) -> None:
    control.set_limits("tests.typed.limited", rate_limit="1/h", key=Line(PRICE))
    limited.delay(Line(PRICE))
    limited.delay(Line(PRICE))
    limited.delay(Line(decimal.Decimal(1)))
    drain()
    assert Job.objects.filter(status="SUCCESS").count() == 2
    assert Job.objects.get(status="SCHEDULED").args == [{"price": "9.90", "tags": []}]


# --- errbacks, schedules, people ----------------------------------------------------------------


@job(name="tests.typed.fails")
def fails(line: Line) -> None:
    raise ValueError("no")


@job(name="tests.typed.told")
def told(failure: dict[str, Any], line: Line, when: datetime.datetime) -> Line:
    got.append((failure["name"], when))
    return line


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("immutable", [False, True])
def test_errbacks_get_types(immutable: bool, eager: bool, drain: Callable[..., Any]) -> None:
    errback: Any = told.si({"name": "own"}, Line(PRICE), WHEN)
    if not immutable:
        errback = told.s(Line(PRICE), WHEN) | tagged.s({"x"})
    single = {"args": [Line(PRICE)], "link_error": errback}
    workflow = (fails.s(Line(PRICE)) | total.s()).on_error(errback)
    if eager:
        fails.apply(**single)
        workflow.apply()
    else:
        fails.apply_async(**single)
        workflow.apply_async()
    drain()
    assert got == [("own" if immutable else "tests.typed.fails", WHEN)] * 2
    if not eager:
        assert Job.objects.filter(name="tests.typed.tagged", status="SUCCESS").count() == (
            0 if immutable else 2
        )


def test_schedule_in_code_has_types(registered: dict[str, Any], drain: Callable[..., Any]) -> None:
    entry = {"schedule": 60, "args": [Line(PRICE)], "kwargs": {"when": WHEN}}

    @job(name="tests.typed.scheduled", schedule=entry)
    def scheduled(line: Line, when: datetime.datetime) -> None:
        got.append((line, when))

    synchronize("default")
    row = Schedule.objects.get(name="tests.typed.scheduled")
    assert row.args == [{"price": "9.90", "tags": []}]
    schedules.run_now(row)
    drain()
    assert got == [(Line(PRICE), WHEN)]


def test_schedule_whose_arguments_do_not_convert_is_refused() -> None:
    row = Schedule(name="s", job_name="tests.typed.total", kind="interval", interval_seconds=60,
                   args=["nine"])  # fmt: skip
    (text,) = problems(row)["args"]
    assert text.startswith("Argument 'lines' of tests.typed.total must be a list, and a str")


def test_command_takes_json_and_refuses_what_does_not_convert(
    drain: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("jobs", "run", "tests.typed.bound", "--args", '["2030-01-02"]')
    drain()
    assert got == [[datetime.datetime(2030, 1, 2)]]  # noqa: DTZ001
    with pytest.raises(CommandError, match=r"'when' of tests.* must be a datetime"):
        call_command("jobs", "run", "tests.typed.bound", "--args", '["soon"]')
    assert Job.objects.count() == 1


def test_form_takes_texts_and_refuses_what_does_not_convert(boss: Client) -> None:
    url = f"{reverse('admin:django_jobs_function_changelist')}tests.typed.bound/"
    page = boss.post(url, {"argument_when": "soon"})
    assert "&#x27;when&#x27; of tests.typed.bound must be a datetime" in page.content.decode()
    boss.post(url, {"argument_when": "2030-01-02"})
    assert Job.objects.get().kwargs == {"when": "2030-01-02"}


def test_assertion_compares_what_was_sent() -> None:
    with captured_jobs() as captured:
        keep.delay(*ARGS, **KWARGS)
        (tagged.s(Line(PRICE), {"a", "b"}) | tagged.s({"c"})).apply_async()
    assert_enqueued(keep, args=ARGS, kwargs=KWARGS, among=captured)
    assert_enqueued(tagged, args=[{"c"}], among=captured)
    assert_not_enqueued(keep, args=[WHEN.replace(microsecond=0), *ARGS[1:]], among=captured)


# --- secrets ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Person:
    born: datetime.date
    password: str


@job(name="tests.typed.secretive", sensitive=["person"])
def secretive(token: bytes, person: Person, expiry: datetime.datetime) -> None:
    raise ValueError(f"{token!r} {token.decode('latin-1')} {person} {person.born} {expiry}")


def test_assertion_finds_an_equal_value_of_another_spelling() -> None:
    with captured_jobs(write=False):
        take_options.delay(PRICE, when=WHEN)
        same = {"when": WHEN.astimezone(datetime.UTC)}
        assert_enqueued(take_options, args=[decimal.Decimal("9.9")], kwargs=same, count=1)
        assert_not_enqueued(take_options, args=[decimal.Decimal("9.91")], kwargs=same)
        assert_not_enqueued(take_options, kwargs={"when": WHEN.replace(year=2031)})


@pytest.mark.parametrize("way", ["call", "result"])
def test_texts_of_typed_secrets_are_blanked(way: str, drain: Callable[..., Any]) -> None:
    person = Person(datetime.date(1990, 12, 31), "sesame-open")
    if way == "call":
        secretive.delay(b"\xffhush-hush", person, WHEN)
    else:
        (give_token.s() | secretive.s(person, WHEN)).apply_async()
    drain()
    row = Job.objects.get(name="tests.typed.secretive")
    for text in (row.error_message, Attempt.objects.get().traceback):
        for secret in ("hush-hush", "1990, 12, 31", "1990-12-31", "sesame-open"):
            assert secret not in text
        assert "2030-01-02" in text


@job(name="tests.typed.give_token")
def give_token() -> bytes:
    return b"\xffhush-hush"


def test_secrets_of_a_row_that_takes_a_result_are_those_of_its_own_arguments() -> None:
    args = '[{"born": "1990-12-31", "password": "x"}, "2030-01-02"]'
    row: Any = SimpleNamespace(
        name="tests.typed.secretive", args=args, kwargs="{}", headers=None,
        options='{"takes": "value"}',
    )  # fmt: skip
    assert "1990, 12" not in secrets_of(row).blanked(repr(datetime.date(1990, 12, 31)))
