"""A line of JSON is one line and one object, whatever the record holds."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import logging
import logging.handlers
import queue
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.utils.functional import lazystr

from django_jobs import log
from django_jobs.log.attributes import NEUTRAL
from tests.log.test_attributes import CLAIMED, OF_JOB

pytestmark = pytest.mark.once

FIELDS = ["timestamp", "level", "logger", "message", "process", *NEUTRAL]


def a_record(text: object = "text", *args: object, **others: Any) -> logging.LogRecord:
    made = logging.getLogger("shop").makeRecord
    how = others.pop("exc_info", None)
    return made("shop", logging.WARNING, __file__, 1, text, args, how, extra=others)


def line(record: logging.LogRecord) -> str:
    text = log.JsonFormatter().format(record)
    assert text.isascii()
    assert text.isprintable()  # so no reader sees the end of a line in it
    return text


def parsed(record: logging.LogRecord) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    fields: dict[str, Any] = json.loads(line(record), parse_constant=refuse)
    json.dumps(fields, ensure_ascii=False).encode()  # fails for a lone surrogate
    return fields


class Broken:
    def __str__(self) -> str:
        raise ValueError("s3cret")

    __repr__ = __str__


def test_line_has_its_fields_and_those_of_the_job() -> None:
    record = a_record("bought %d", 3)
    with log.working_as("host-0", CLAIMED):
        fields = parsed(record)
    assert list(fields) == FIELDS
    assert fields["message"] == "bought 3"
    assert (fields["level"], fields["logger"]) == ("WARNING", "shop")
    assert fields["process"] == record.process
    assert {name: fields[name] for name in NEUTRAL} == OF_JOB
    moment = datetime.datetime.fromisoformat(fields["timestamp"])
    assert moment.timestamp() == pytest.approx(record.created, abs=1e-5)
    assert moment.utcoffset() == datetime.timedelta(0)


def test_line_outside_a_job_has_null_for_it() -> None:
    fields = parsed(a_record())
    assert {name: fields[name] for name in NEUTRAL} == dict.fromkeys(NEUTRAL)


def test_extra_keys_follow_and_replace_no_field() -> None:
    fields = parsed(a_record(order=7, timestamp="mine", level=3, queue="tray 2"))
    assert fields["order"] == 7
    assert (fields["timestamp_"], fields["level_"]) == ("mine", 3)
    assert fields["level"] == "WARNING"
    assert fields["queue"] == "tray 2"
    assert "hidden" not in str(parsed(a_record(_hidden=1)))
    record = a_record()
    vars(record)[7] = "seven"  # type: ignore[index]
    assert parsed(record)["7"] == "seven"


@pytest.mark.parametrize(
    "text",
    ["a\nb\r\n", "\x00\x1b[31m\x7f\x9b", "\u2028\u2029\x85\x0b", "\ud800 \udcff", "日本 😀", '"\\'],
)
def test_text_stays_in_its_line(text: str) -> None:
    storable = text.encode("utf-8", "backslashreplace").decode()
    fields = parsed(a_record(text, **{"note": text, text: text}))
    assert fields["message"] == fields["note"] == fields[storable] == storable


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (Colour.RED, 1),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (Path("/a"), "/a"),
        (lazystr("later"), "later"),
        (b"\xff", r"b'\xff'"),
        ({1: (2, {"x"}), None: [float("nan")]}, {"1": [2, ["x"]], "None": ["nan"]}),
        (Broken(), "(Broken: its __str__ raised ValueError)"),
        ([Broken()], ["(Broken: its __str__ raised ValueError)"]),
        ({Broken(): 1}, {"(Broken: its __str__ raised ValueError)": 1}),
        (10**5_000, "(int: its __str__ raised ValueError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_that_json_does_not_know_is_a_text(value: object, shown: object) -> None:
    assert parsed(a_record(value=value))["value"] == shown


def test_value_that_holds_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert parsed(a_record(value=value))["value"] == [1, "…"]
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert "…" in str(parsed(a_record(value=deep))["value"])


def test_collection_that_cannot_be_read_is_a_text() -> None:
    class Torn(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("s3cret")

    shown = parsed(a_record(value=Torn(a=1)))["value"]
    assert shown.endswith("Torn: reading it raised RuntimeError)")
    assert "s3cret" not in shown


def test_message_that_cannot_be_made_gives_its_line() -> None:
    wrong = "(formatting its arguments raised"
    assert parsed(a_record("%d", "x"))["message"] == f"%d {wrong} TypeError)"
    assert parsed(a_record("%s and", Broken()))["message"] == f"%s and {wrong} ValueError)"
    broken = parsed(a_record(Broken()))["message"]
    assert broken.startswith("(Broken: its __str__ raised ValueError)")


def test_exception_is_a_text() -> None:
    try:
        raise KeyError("a\nb\ud800")
    except KeyError:
        fields = parsed(a_record(exc_info=sys.exc_info()))
    assert fields["exc_info"].startswith("Traceback (most recent call last):\n")
    assert r"'a\nb\ud800'" in fields["exc_info"]
    assert "exc_info" not in parsed(a_record(exc_info=(None, None, None)))


def test_exception_without_a_text_is_a_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError

    try:
        raise Silent
    except Silent:
        fields = parsed(a_record(exc_info=sys.exc_info()))
    assert "Silent: <exception str() failed>" in fields["exc_info"]


def test_failure_shows_the_stored_traceback() -> None:
    record = a_record(exc_info=(ValueError, ValueError("s3cret"), None))
    record.exc_text = "Traceback without secrets"
    assert parsed(record)["exc_info"] == "Traceback without secrets"


def test_line_survives_a_queue() -> None:
    """A QueueHandler formats in the thread that logs, so the job is known there."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    handler.setFormatter(log.JsonFormatter())
    with log.working_as("host-0", CLAIMED):
        handler.handle(a_record("in a job", order=7))
    fields = json.loads(logging.Formatter().format(waiting.get()))
    assert (fields["order"], fields["job_id"]) == (7, str(CLAIMED.id))


def test_console_leaves_the_record_as_it_was_for_other_handlers() -> None:
    record = a_record()
    log.ConsoleFormatter("%(job)s%(message)s").format(record)
    assert list(parsed(record)) == FIELDS
