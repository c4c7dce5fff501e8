"""Sorts database errors by what they mean for the statement; no other module does."""

from __future__ import annotations

import enum
import traceback
from typing import Any

from django.db import Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper


class Kind(enum.Enum):
    """The kind of an error. All but :attr:`WRONG` say nothing about the statement."""

    #: There is no connection, or it broke: nobody knows whether the statement had its effect.
    GONE = "connection gone"
    #: The server refuses for now: it starts, is read-only, full, or keeps a lock for too long.
    NOT_READY = "server not ready"
    #: A deadlock or a serialization failure: the transaction is rolled back and may be repeated.
    CONFLICT = "conflict"
    #: The statement, or what it wants to store, is refused each time.
    WRONG = "statement wrong"


# PostgreSQL: the first two characters of a SQLSTATE are its class.
_PG_GONE = {"08", "28", "3D", "57P01", "57P02", "57P04", "57P05", "25P03", "25P04", "40003"}
_PG_NOT_READY = {"53", "58", "57P03", "57014", "25006", "55P03"}
_PG_CONFLICT = {"40001", "40P01"}

# MariaDB and MySQL. Numbers from 2000 to 2999 are the client library's own; 0 is a closed handle.
_MYSQL_GONE = {
    0, 1042, 1043, 1044, 1045, 1047, 1049, 1053, 1077, 1079, 1129, 1130, 1152, 1158, 1159, 1160,
    1161, 1184, 1698, 1927, 3032, 3118, 3169, 4031,
}  # fmt: skip
_MYSQL_TOO_LARGE = 2020
_MYSQL_NOT_READY = {
    3, 28, 1004, 1014, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1114, 1135, 1180, 1192, 1203, 1205,
    1206, 1223, 1226, 1290, 1317, 1792, 1836, 1969, 3024, 3100, 3572,
}  # fmt: skip
_MYSQL_CONFLICT = {1020, 1213, 1412, 1613, 3101}

# SQLite: the lowest byte of an extended error code. PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT,
# IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, AUTH, NOTADB
_SQLITE_NOT_READY = {3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 23, 26}
_SQLITE_BUSY_SNAPSHOT = 517

_CONNECT: Any = getattr(BaseDatabaseWrapper.connect, "__wrapped__", BaseDatabaseWrapper.connect)


def kind_of(error: BaseException) -> Kind:
    """Tell what an error of the database, or of its driver, means."""
    each: BaseException | None = error
    while each is not None:
        kind = _own_kind(each)
        if kind is not None:
            return kind
        each = each.__cause__
    if isinstance(error, (InterfaceError, OperationalError)):
        # The driver's own: no server gave it a number.
        return Kind.GONE
    return Kind.WRONG


def is_away(error: BaseException) -> bool:
    """Tell whether the database is away, so that the same statement may work later."""
    return isinstance(error, Error) and kind_of(error) is not Kind.WRONG


def refusing_database(error: BaseException) -> str | None:
    """Return the alias of the database to which no connection could be made, if *error* says so."""
    if isinstance(error, OperationalError):
        for frame, _line in traceback.walk_tb(error.__traceback__):
            if frame.f_code is _CONNECT.__code__:
                alias: str = frame.f_locals["self"].alias
                return alias
    return None


def _own_kind(error: BaseException) -> Kind | None:
    """Return the kind of the error's number, or None when it has none."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _by_number(state, _PG_GONE, _PG_NOT_READY, _PG_CONFLICT) or _by_number(
            state[:2], _PG_GONE, _PG_NOT_READY, _PG_CONFLICT, Kind.WRONG
        )
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        if code == _SQLITE_BUSY_SNAPSHOT:
            return Kind.CONFLICT
        return Kind.NOT_READY if code & 0xFF in _SQLITE_NOT_READY else Kind.WRONG
    number = error.args[0] if isinstance(error, Error) and error.args else None
    if isinstance(number, int):
        if 2000 <= number < 3000 and number != _MYSQL_TOO_LARGE:
            return Kind.GONE
        return _by_number(number, _MYSQL_GONE, _MYSQL_NOT_READY, _MYSQL_CONFLICT, Kind.WRONG)
    return None


def _by_number(
    number: Any, gone: set[Any], not_ready: set[Any], conflict: set[Any], other: Kind | None = None
) -> Kind | None:
    if number in gone:
        return Kind.GONE
    if number in not_ready:
        return Kind.NOT_READY
    return Kind.CONFLICT if number in conflict else other
