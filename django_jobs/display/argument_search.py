"""Finds jobs by the value of an argument, in the admin and in the terminal."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Iterable

from django.db.models import Q

from ..define import registry
from ..define.envelopes import MARK
from ..define.hidden_arguments import rules_of
from ..define.row_options import MAY_TAKE_A_RESULT, TAKES_A_RESULT
from ..define.sensitive import redact
from ..redaction import is_sensitive

_TEXT = r'"([^"\\]|\\.)*"'
# The search skips encrypted values, which may stand before other ones.
_SCALAR = rf'({_TEXT}|[^]\[,"{{}}]+|\{{"{MARK}":{_TEXT}\}})'

# SQLite bounds the length of a pattern.
_LONGEST_PART = 100
#: The most characters of a value. PostgreSQL and MariaDB refuse regular expressions that are longer
#: than about five times as much.
LONGEST_VALUE = 1_000
# Names of job functions in a query. SQLite takes 32,766 values in one.
_MOST_NAMES = 30_000


def most_conditions(names: int = 3) -> int:
    """Return how many conditions of a query may each name all job functions, *names* times.

    :func:`argument_is` names them up to three times: those that take the argument by its name, and
    by its position with and without a previous result.
    """
    return max(1, _MOST_NAMES // (names * max(1, len(list(registry.every())))))


def argument_is(name: str, value: str) -> Q:
    """Return the condition that the argument *name* is *value*, passed by name or by position.

    Arrays and objects never match: a search could guess the secrets inside them. Nor do texts that
    have one inside. A value longer than ``LONGEST_VALUE`` matches nothing.
    """
    functions = list(registry.every())
    if len(value) > LONGEST_VALUE or is_hidden(name, value):
        return Q(pk=None)
    # Rows that the project's code inserted itself may have escaped letters.
    quoted = {json.dumps(value, ensure_ascii=False), json.dumps(value)}
    wanted = "|".join(re.escape(text) for text in quoted | _bare(value))
    written = {text[1:-1][:_LONGEST_PART] for text in quoted}
    key = json.dumps(name, ensure_ascii=False)
    rules = {function.name: rules_of(function.name) for function in functions}
    named = [function for function, one in rules.items() if not one.hides_name(name)]
    # Rows of other programs may have a blank behind each comma and colon.
    pattern = rf"^\{{({_TEXT}: ?{_SCALAR}, ?)*{re.escape(key)}: ?({wanted})[,}}]"
    has_key = _contains("kwargs", {key[:_LONGEST_PART]}) & _contains("kwargs", written)
    condition = Q(name__in=named) & has_key & Q(kwargs__regex=pattern)
    has_value = _contains("args", written)
    positions: dict[int, list[str]] = {}
    for function, one in rules.items():
        if name in one.positional and not one.encrypts_name(name):
            positions.setdefault(one.positional.index(name), []).append(function)
    takes_none = Q(options=None) | ~Q(options__regex=MAY_TAKE_A_RESULT)
    takes_one = Q(options__regex=TAKES_A_RESULT)
    for position, names in positions.items():
        of_names = Q(name__in=names) & has_value
        pattern = rf"^\[({_SCALAR}, ?){{{position}}}({wanted})[],]"
        condition |= of_names & takes_none & Q(args__regex=pattern)
        if position:  # the first parameter gets the previous job's result
            pattern = rf"^\[({_SCALAR}, ?){{{position - 1}}}({wanted})[],]"
            condition |= of_names & takes_one & Q(args__regex=pattern)
    return condition


def _contains(column: str, texts: Iterable[str]) -> Q:
    """Return a condition that costs a tenth of a regular expression, to be asked before one."""
    parts = (Q(**{f"{column}__contains": text}) for text in sorted(texts))
    return functools.reduce(operator.or_, parts)


def is_hidden(name: str, value: str) -> bool:
    """Return whether the argument is hidden by its name, or *value* has a secret inside."""
    extra = sensitive_names()
    return is_sensitive(name, extra) or redact(value, tuple(extra)) != value


def sensitive_names() -> set[str]:
    """Return the names that the functions of this process declare as sensitive."""
    return {name for function in registry.every() for name in function.options.sensitive}


def _bare(value: str) -> set[str]:
    """Return *value* if it is JSON without quotes: a number, true, false or null."""
    return {value} if re.fullmatch(r"-?[\d.]+([eE][-+]?\d+)?|true|false|null", value) else set()
