"""Reads from the text of a statement whether it changes its session or ends a transaction."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

# Comments and quoted text: a word in them is no statement.
_QUOTED = re.compile(
    r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|`[^`]*`"
    r"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
# Texts up to this length are judged once.
_KEPT = 4096

Verdict = tuple[bool, str]
_PLAIN: Verdict = (False, "")


@dataclasses.dataclass(frozen=True, eq=False)
class Rules:
    """One database's statements. What is not known to leave the session alone changes it."""

    #: Leaves the session as it is.
    plain: re.Pattern[str]
    #: Ends the transaction that is open.
    ends: re.Pattern[str]
    #: Parts of queries that change the session, in lower case.
    inside: tuple[str, ...]

    def judge(self, sql: Any) -> Verdict:
        """Return whether *sql* changes the session, and the word by which it ends a transaction."""
        if sql.__class__ is not str:
            sql = _text(sql)
        # The ORM writes its statements so.
        begin = sql[:7]
        if begin == "SELECT " and ";" not in sql:
            lower = sql.lower()
            for part in self.inside:
                if part in lower:
                    return True, ""
            return _PLAIN
        if begin in ("INSERT ", "UPDATE ", "DELETE ") and ";" not in sql:
            return _PLAIN
        return _judge(self, sql) if len(sql) <= _KEPT else _judge.__wrapped__(self, sql)


@functools.lru_cache(256)
def _judge(rules: Rules, sql: str) -> Verdict:
    changes, ends = False, ""
    for piece in _QUOTED.sub(" ", sql).split(";"):
        statement = piece.strip(" \t\r\n(").lower()
        if not statement:
            continue
        if rules.ends.match(statement):
            ends = ends or statement.split()[0].upper()
        if not rules.plain.match(statement) or any(part in statement for part in rules.inside):
            changes = True
    return changes, ends


def _text(sql: Any) -> str:
    if isinstance(sql, (bytes, bytearray)):
        return sql.decode(errors="replace")
    # psycopg's composed statements
    return str(sql.as_string(None)) if hasattr(sql, "as_string") else str(sql)


_QUERIES = (
    "select|insert|update|delete|with|merge|replace|values|table|explain|show|savepoint|release"
)


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(words)})\b")


OTHERS = Rules(
    plain=_words(_QUERIES),
    ends=_words("commit", r"rollback(?!\s+(?:work\s+)?to)"),
    inside=(),
)
# The driver itself tells whether a transaction is open: to begin and to end one changes nothing.
POSTGRESQL = Rules(
    plain=_words(
        _QUERIES,
        r"begin|start\s+transaction|commit(?!\s+prepared)|end|abort|rollback(?!\s+prepared)",
        r"set\s+(?:local|transaction|constraints)|copy|lock|notify|fetch|close|truncate",
        r"analyze|vacuum|reindex|refresh",
    ),
    ends=_words(
        r"commit(?!\s+prepared)|end|abort|prepare\s+transaction",
        r"rollback(?!\s+(?:prepared|(?:(?:work|transaction)\s+)?to\b))",
    ),
    inside=("advisory_lock", "set_config", "into temp", "pg_temp"),
)
MYSQL = Rules(
    plain=_words(_QUERIES, r"rollback\s+(?:work\s+)?to\b|set\s+statement|analyze"),
    ends=_words(
        r"begin|start\s+transaction|commit|rollback(?!\s+(?:work\s+)?to\b)",
        r"set\s+(?:session\s+|local\s+|@@(?:session\.|local\.)?)?autocommit",
        # Data definition commits.
        r"(?:create|drop)(?!\s+temporary)|alter|rename|truncate|grant|revoke|lock\s+tables?",
    ),
    inside=("get_lock", ":=", "into @"),
)
SQLITE = Rules(
    plain=_words(_QUERIES, "begin|commit|end|rollback|analyze|reindex|vacuum"),
    ends=_words(r"commit|end|rollback(?!(?:\s+transaction)?\s+to\b)"),
    inside=("load_extension",),
)
