"""Log records as lines of JSON, whatever they hold."""

from __future__ import annotations

import datetime
import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from .attributes import NEUTRAL, complete

# The attributes of every record, and those that formatters and tools of tracing add.
_KNOWN = {*vars(logging.makeLogRecord({})), *NEUTRAL, "message", "asctime", "taskName"}
# Greater numbers are texts: few readers of JSON can hold them.
_MOST = 2**63
_DEEPEST = 10


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of ASCII: a JSON object.

    Its keys are ``timestamp`` (ISO 8601, in UTC), ``level``, ``logger``, ``message``, ``process``
    (the id), ``job_id``, ``job_name``, ``queue``, ``attempt``, ``worker`` (``null`` where there is
    none), and the texts ``exc_info`` and ``stack_info`` if the record has them. Then come the keys
    of ``extra``; one that has such a name gets a ``_`` at its end. Values that JSON does not know
    are texts. A record whose message or values cannot be made into texts gives a line all the
    same.

    It adds the attributes of :class:`~django_jobs.log.JobFilter` itself, if it formats the record
    in its thread.
    """

    def __init__(self) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        complete(record)
        known = vars(record)
        fields: dict[str, Any] = {
            "timestamp": _timestamp(record.created),
            "level": _text(record.levelname),
            "logger": _text(record.name),
            "message": text_of(record),
            "process": record.process,
        }
        for name, neutral in NEUTRAL.items():
            fields[name] = None if known[name] == neutral else _plain(known[name])
        if error := self._error(record):
            fields["exc_info"] = error
        if record.stack_info:
            fields["stack_info"] = _text(record.stack_info)
        for key in [each for each in known if each not in _KNOWN]:
            if not (name := _text(key)).startswith("_"):
                fields[f"{name}_" if name in fields else name] = _plain(known[key])
        return json.dumps(fields, allow_nan=False)

    def _error(self, record: logging.LogRecord) -> str:
        if record.exc_text:
            return _text(record.exc_text)
        if not record.exc_info or record.exc_info[0] is None:
            return ""
        try:
            return _text(self.formatException(record.exc_info))
        except Exception as broken:
            return f"{record.exc_info[0].__qualname__} (formatting it raised {_name(broken)})"


def _timestamp(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def text_of(record: logging.LogRecord) -> str:
    """Return the message of *record*; one whose arguments do not fit says so."""
    try:
        return _text(record.getMessage())
    except Exception as broken:  # the arguments do not fit, or one has no text
        return f"{_text(record.msg)} (formatting its arguments raised {_name(broken)})"


def _plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return *value* as JSON knows it, or as a text; *above* are the ids of what it stands in."""
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and -_MOST <= value < _MOST:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if id(value) in above or len(above) == _DEEPEST:
                return "…"
            inside = (*above, id(value))
            if isinstance(value, Mapping):
                return {_text(key): _plain(each, inside) for key, each in value.items()}
            return [_plain(each, inside) for each in value]
    except Exception as broken:  # another thread changes it, or code of the project fails
        return f"({_name(value)}: reading it raised {_name(broken)})"
    return _text(value)


def _text(value: object) -> str:
    """Return *value* as a text that UTF-8 can hold."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception as broken:
        return f"({_name(value)}: its __str__ raised {_name(broken)})"


def _name(value: object) -> str:
    return type(value).__qualname__
