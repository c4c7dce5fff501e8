"""Which arguments of a job nobody may see. Every place that shows something of a job asks here.

Where this code does not have a job's function, no argument is shown: the names of its parameters,
and what its ``sensitive=`` names, are known only to the code that has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..redaction import NO_SECRETS, REDACTED, Secrets, is_sensitive
from . import registry

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..models import Schedule

#: The options of a job that takes results of others have this in their JSON text.
TAKES = '"takes"'
# What lies deeper is blanked; an argument that was enqueued is nested 32 deep at most.
_DEEPEST = 64
#: The package's job functions that call another one, and how many arguments an item is.
CALLERS = {"django_jobs.map": "one", "django_jobs.starmap": "all"}
_CREDENTIALS = re.compile(r"(//[^/\s:@]*:)([^/\s@]+)(?=@)")
# A name within a text with what stands between it and its value, and the value: ``token=…``,
# ``Authorization: …``, and an object that was written into the text, also escaped.
_NAMED = re.compile(r"""(?<![\w.-])([\w.-]{1,100})\\{0,32}['"]?\s{0,3}[=:]\s{0,3}\\{0,32}""")
_VALUE = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|"[^"]*"|'[^']*'|['"]?[^&;,'"\n]+""", re.DOTALL
)
_KINDS = inspect.Parameter


class Row(Protocol):
    """The columns of a job that tell what must be hidden of it, as JSON texts."""

    @property
    def name(self) -> str: ...
    @property
    def args(self) -> str: ...
    @property
    def kwargs(self) -> str: ...
    @property
    def headers(self) -> str | None: ...
    @property
    def options(self) -> str | None: ...


@dataclasses.dataclass(slots=True)
class Shown:
    """The arguments of one job as people may see them, and what is known from the others."""

    args: Any
    kwargs: Any
    #: The texts of all that was blanked.
    secrets: Secrets
    #: What else of the job is shown follows the same rules.
    rules: Rules

    def value(self, value: Any) -> Any:
        """Return what may be seen of a result, of headers or of progress."""
        if value is None:
            return None
        if not self.rules.is_known:
            return REDACTED
        return self.secrets.blanked_value(redact(value, self.rules.sensitive))

    def text(self, text: str) -> str:
        """Return a message or a traceback without the secrets."""
        return self.secrets.blanked(text)


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Which arguments of a call are blanked: by their parameters' names and ``sensitive=``."""

    #: What positional arguments fill, in order.
    positional: tuple[str, ...] = ()
    #: The other parameters that have a name.
    named: frozenset[str] = frozenset()
    #: The names of ``*args`` and of ``**kwargs``.
    rest: str | None = None
    keywords: str | None = None
    sensitive: tuple[str, ...] = ()
    is_known: bool = True
    #: Any number of results may come before the arguments.
    is_partial: bool = False
    #: How the job calls another job function with each of its items: "", "one", "all".
    calls: str = ""

    def shown(self, args: Any, kwargs: Any, headers: Any = None) -> Shown:
        """Return the arguments without secrets; of what is no call, nothing.

        What *headers* hide is blanked in the job's other texts, too.
        """
        walk = _Walk(self.sensitive)
        found = walk.arguments(self, args, kwargs)
        walk.value(headers)
        is_call = isinstance(found[0], list) and isinstance(found[1], dict)
        secrets = Secrets(walk.blanked) if walk.blanked else NO_SECRETS
        return Shown(*found, secrets, self if is_call else _UNKNOWN)

    def hides_position(self, position: int) -> bool:
        """Tell whether the positional argument in that place is blanked."""
        if not self.is_known:
            return True
        names = self.positional[position : None if self.is_partial else position + 1]
        if any(is_sensitive(name, self.sensitive) for name in names):
            return True
        if self.rest is not None:
            is_rest = self.is_partial or position >= len(self.positional)
            return is_rest and is_sensitive(self.rest, self.sensitive)
        # What fits no parameter may be meant for any.
        return position >= len(self.positional)

    def hides_name(self, name: str) -> bool:
        """Tell whether the argument that is passed by that name is blanked."""
        if not self.is_known or is_sensitive(name, self.sensitive):
            return True
        is_own = name in self.positional or name in self.named
        return (
            not is_own and self.keywords is not None and is_sensitive(self.keywords, self.sensitive)
        )


_UNKNOWN = Rules(is_known=False)


def rules_of(name: Any, options: str | None = None) -> Rules:
    """Return the rules for the row of a job of that *name*.

    *options* is the row's JSON text: where it says that results come before the row's arguments,
    these fill the parameters from the second one on.
    """
    function = registry.find(name) if isinstance(name, str) else None
    given = _takes(options)
    if function is None or given is None:
        return _UNKNOWN
    rules = rules_of_function(function)
    return dataclasses.replace(rules, positional=rules.positional[1:]) if given else rules


def secrets_of(*rows: Row, has_taken: bool = False, result: Any = None) -> Secrets:
    """Return the texts that must not be told of the jobs: of hidden arguments and headers.

    With *has_taken* the results that a job takes stand before its arguments already. What is
    hidden in the *result* is added.
    """
    found: list[Any] = []
    for row in rows:
        rules = rules_of(row.name, None if has_taken else row.options)
        walk = _Walk(rules.sensitive)
        walk.arguments(rules, _read(row.args), _read(row.kwargs))
        walk.value([_read(row.headers or "null"), result])
        found += walk.blanked
    return Secrets(found) if found else NO_SECRETS


def shown_schedule(schedule: Schedule) -> Shown:
    """Return the arguments of a schedule's jobs as people may see them."""
    return rules_of(schedule.job_name).shown(schedule.args, schedule.kwargs, schedule.headers)


def secrets_in(form: Any) -> Secrets:
    """Return the texts that must not be told of the JSON form of a signature."""
    walk = _Walk(())
    walk.value(form)
    return Secrets(walk.blanked)


def _read(text: str) -> Any:
    """Return the value of JSON *text*; of one that is none nothing is known, and nothing told."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def rules_of_function(function: JobFunction[..., Any, Any]) -> Rules:
    """Return the rules for a call of *function* with all its arguments."""
    parameters = function.call_signature.parameters.values()
    by_kind = {parameter.kind: parameter.name for parameter in parameters}
    return Rules(
        positional=function.parameters,
        named=frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        rest=by_kind.get(_KINDS.VAR_POSITIONAL),
        keywords=by_kind.get(_KINDS.VAR_KEYWORD),
        sensitive=tuple(function.options.sensitive),
        calls=CALLERS.get(function.name, ""),
    )


def _takes(options: str | None) -> bool | None:
    """Tell whether a result comes before the arguments; None where nobody can tell."""
    if options is None or TAKES not in options:
        return False
    try:
        found = json.loads(options)
    except (ValueError, RecursionError):
        return None
    return isinstance(found, dict) and found.get("takes") not in (None, "nothing")


def redact(value: Any, sensitive: Sequence[str] = ()) -> Any:
    """Return a copy of a JSON *value* without what its names, and signatures in it, hide."""
    return _Walk(sensitive).value(value)


class _Walk:
    """One walk over values: the copies have blanks, and ``blanked`` what stood in their places."""

    def __init__(self, sensitive: Sequence[str]) -> None:
        self.sensitive = sensitive
        self.blanked: list[Any] = []

    def blank(self, value: Any) -> str:
        self.blanked.append(value)
        return REDACTED

    def arguments(self, rules: Rules, args: Any, kwargs: Any, depth: int = 0) -> tuple[Any, Any]:
        """Return both kinds of arguments of a call that has these *rules*."""
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            return self.blank(args), self.blank(kwargs)
        shown_args = [
            self.blank(value) if rules.hides_position(position) else self.value(value, depth)
            for position, value in enumerate(args)
        ]
        shown_kwargs = {
            name: self.blank(value) if rules.hides_name(str(name)) else self.value(value, depth)
            for name, value in kwargs.items()
        }
        if rules.calls:
            self._called(rules, args, kwargs, shown_args, shown_kwargs)
        return shown_args, shown_kwargs

    def _called(
        self,
        rules: Rules,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        shown_args: list[Any],
        shown_kwargs: dict[str, Any],
    ) -> None:
        """Blank what the job function hides that is called with each of the items."""
        known = dict(zip(rules.positional, args, strict=False)) | dict(kwargs)
        called = rules_of(known.get("name"))
        for place, name in enumerate(rules.positional[: len(args)]):
            if name == "items":
                shown_args[place] = self._items(called, args[place], rules.calls)
        if "items" in kwargs:
            shown_kwargs["items"] = self._items(called, kwargs["items"], rules.calls)

    def _items(self, called: Rules, items: Any, calls: str) -> Any:
        if not isinstance(items, (list, tuple)):
            return self.blank(items)
        if calls == "one":
            return [self.call(called, [item], {}, 0)[0][0] for item in items]
        return [self.call(called, item, {}, 0)[0] for item in items]

    def call(self, rules: Rules, args: Any, kwargs: Any, depth: int = 0) -> tuple[Any, Any]:
        """Return the arguments of another call, by that one's rules."""
        other = _Walk((*self.sensitive, *rules.sensitive))
        shown = other.arguments(rules, args, kwargs, depth)
        self.blanked += other.blanked
        return shown

    # --- values ---------------------------------------------------------------------------------

    def value(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value, depth)
        if not isinstance(value, (Mapping, list, tuple)):
            return value
        if depth > _DEEPEST:
            return self.blank(value)
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if _is_pair(value) and is_sensitive(value[0], self.sensitive):
            return [value[0], self.blank(value[1])]
        return [self.value(item, depth + 1) for item in value]

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown = {
            key: self.blank(item)
            if is_sensitive(str(key), self.sensitive)
            else self.value(item, depth)
            for key, item in value.items()
        }
        for name in ("name", "key"):  # one entry of a list: {"name": "password", "value": …}
            if isinstance(value.get(name), str) and is_sensitive(value[name], self.sensitive):
                shown |= {"value": self.blank(value["value"])} if "value" in value else {}
        if isinstance(value.get("task"), str) and ("args" in value or "kwargs" in value):
            shown |= self._signature(value, depth)
        return shown

    def _signature(self, form: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Return both kinds of arguments in the JSON form of a signature."""
        rules = dataclasses.replace(rules_of(form["task"]), is_partial=not form.get("immutable"))
        args, kwargs = self.call(rules, form.get("args", []), form.get("kwargs", {}), depth)
        return {key: item for key, item in (("args", args), ("kwargs", kwargs)) if key in form}

    def _text(self, text: str, depth: int) -> str:
        if text[:20].lstrip()[:1] in ("{", "[", '"') and depth <= _DEEPEST:
            with contextlib.suppress(ValueError, RecursionError):
                before = len(self.blanked)
                self.value(json.loads(text), depth + 1)
                if len(self.blanked) > before:
                    return self.blank(text)
        if "//" in text:
            text = _CREDENTIALS.sub(lambda found: found[1] + self.blank(found[2]), text)
        return self._named(text) if "=" in text or ":" in text else text

    def _named(self, text: str) -> str:
        parts: list[str] = []
        done = at = 0
        while (name := _NAMED.search(text, at)) is not None:
            at = name.end()
            if is_sensitive(name[1], self.sensitive) and (value := _VALUE.match(text, at)):
                self.blank(value[0].strip("'\"\\ "))
                parts += [text[done:at], self.blank(value[0])]
                done = at = value.end()
        return "".join([*parts, text[done:]])


def _is_pair(value: Sequence[Any]) -> bool:
    return len(value) == 2 and isinstance(value[0], str)
