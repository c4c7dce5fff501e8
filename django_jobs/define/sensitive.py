"""Shows a job's arguments, result, headers and texts without secrets.

Every place that shows something of a job gets it here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..redaction import NO_SECRETS, REDACTED, Secrets, is_sensitive
from .conversion import spellings
from .envelopes import ENCRYPTED, is_envelope, unmarked
from .hidden_arguments import UNKNOWN, Rules, rules_of
from .text_secrets import blanked_text

if TYPE_CHECKING:
    from ..models import Schedule, Step

# Deeper values are blanked. Arguments nest at most 32 deep when a job is enqueued.
_DEEPEST = 64


class Row(Protocol):
    """The columns of a job that decide what is hidden of it; all but the name are JSON texts."""

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
    """The arguments of one job without secrets, and the secrets that were blanked."""

    args: Any
    kwargs: Any
    #: The texts of everything that was blanked.
    secrets: Secrets
    #: The job's other values follow the same rules.
    rules: Rules

    def step_result(self, step: Step) -> Any:
        """Return the result of a step of the job without secrets, by the step's own names, too."""
        kept = step.data.get("sensitive") if isinstance(step.data, dict) else None
        shown = self.value(step.result)
        return redact(shown, [name for name in kept or () if isinstance(name, str)])

    def value(self, value: Any) -> Any:
        """Return a result, headers or progress without secrets."""
        if value is None:
            return None
        if is_envelope(value):
            return ENCRYPTED
        value = unmarked(value)
        if not self.rules.is_known:
            return REDACTED
        return self.secrets.blanked_value(redact(value, self.rules.sensitive))

    def text(self, text: str) -> str:
        """Return a message or a traceback without the secrets."""
        return self.secrets.blanked(text)


def shown_arguments(rules: Rules, args: Any, kwargs: Any, headers: Any = None) -> Shown:
    """Return the arguments without secrets; all is hidden if they are not a list and a dict.

    The secrets in *headers* are blanked in the job's texts, too.
    """
    walk = _Walk(rules.sensitive)
    found = walk.arguments(rules, args, kwargs)
    walk.value(headers)
    is_call = isinstance(found[0], list) and isinstance(found[1], dict)
    secrets = Secrets(walk.blanked) if walk.blanked else NO_SECRETS
    return Shown(*found, secrets, rules if is_call else UNKNOWN)


#: A call of another function than the job's: its rules, and its arguments.
Call = tuple[Rules, Sequence[Any], Mapping[str, Any]]


def secrets_of(
    *rows: Row, has_taken: bool = False, result: Any = None, calls: Sequence[Call] = ()
) -> Secrets:
    """Return the secrets of the jobs: of their hidden arguments and headers, and of *result*.

    With *has_taken* the rows' arguments begin with the results that the jobs take. The hidden
    arguments of other *calls* are secrets, too.
    """
    found: list[Any] = []
    for rules, args, kwargs in calls:
        walk = _Walk(rules.sensitive)
        walk.arguments(rules, args, kwargs)
        found += walk.blanked
    for row in rows:
        rules = rules_of_row(row, has_taken=has_taken)
        walk = _Walk(rules.sensitive)
        args, kwargs = _read(row.args), _read(row.kwargs)
        walk.arguments(rules, args, kwargs)
        if rules.types is not None and isinstance(args, list) and isinstance(kwargs, dict):
            # The body has values whose texts differ from their JSON.
            typed = _Walk(rules.sensitive)
            typed.arguments(rules, *rules.types.seen(args, kwargs, rules.taken))
            found += [text for value in typed.blanked for text in spellings(value)]
        walk.value([_read(row.headers or "null"), result])
        if rules.encrypted:
            walk.blank(result)
        found += walk.blanked
    return Secrets(found) if found else NO_SECRETS


def rules_of_row(row: Row, *, has_taken: bool = False) -> Rules:
    """Return the rules for the arguments of *row*, as :func:`secrets_of` takes it."""
    rules = rules_of(row.name, None if has_taken else row.options)
    first = (*rules.positional, rules.rest)[0]
    took = has_taken and getattr(row, "took_encrypted", False)
    if not took or first is None or rules.encrypted is True:
        return rules
    # The first argument is the result of a job that encrypts it.
    return dataclasses.replace(rules, encrypted=(*(rules.encrypted or ()), first))


def shown_schedule(schedule: Schedule) -> Shown:
    """Return the arguments of a schedule's jobs without secrets."""
    rules = rules_of(schedule.job_name)
    return shown_arguments(rules, schedule.args, schedule.kwargs, schedule.headers)


def secrets_in(form: Any) -> Secrets:
    """Return the secrets of a signature, in its JSON form."""
    walk = _Walk(())
    walk.value(form)
    return Secrets(walk.blanked)


def _read(text: str) -> Any:
    """Return the value of JSON *text*; an unreadable text is a value itself, all hidden."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def redact(value: Any, sensitive: Sequence[str] = ()) -> Any:
    """Return a copy of a JSON *value* without secrets: by its names and the signatures in it."""
    return _Walk(sensitive).value(value)


class _Walk:
    """Copies values without secrets, and collects the secrets in ``blanked``."""

    def __init__(self, sensitive: Sequence[str]) -> None:
        self.sensitive = sensitive
        self.blanked: list[Any] = []

    def blank(self, value: Any) -> str:
        self.blanked.append(value)
        return REDACTED

    def arguments(self, rules: Rules, args: Any, kwargs: Any, depth: int = 0) -> tuple[Any, Any]:
        """Return copies of the arguments of a call that has these *rules*."""
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            return self.blank(args), self.blank(kwargs)
        shown_args = [
            self._argument(value, rules.hides_position(position), depth)
            for position, value in enumerate(args)
        ]
        shown_kwargs = {
            name: self._argument(value, rules.hides_name(str(name)), depth)
            for name, value in kwargs.items()
        }
        if rules.calls:
            self._called(rules, args, kwargs, shown_args, shown_kwargs)
        return shown_args, shown_kwargs

    def _argument(self, value: Any, is_hidden: bool, depth: int) -> Any:
        if is_envelope(value):
            return ENCRYPTED
        value = unmarked(value)
        return self.blank(value) if is_hidden else self.value(value, depth)

    def _called(
        self,
        rules: Rules,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        shown_args: list[Any],
        shown_kwargs: dict[str, Any],
    ) -> None:
        """Hide arguments of the job function that a map or starmap calls with each item."""
        known = dict(zip(rules.positional, args, strict=False)) | dict(kwargs)
        called = rules_of(known.get("name"))
        for place, name in enumerate(rules.positional[: len(args)]):
            if name == "items":
                shown_args[place] = self._items(called, args[place], rules.calls)
        if "items" in kwargs:
            shown_kwargs["items"] = self._items(called, kwargs["items"], rules.calls)

    def _items(self, called: Rules, items: Any, calls: str) -> Any:
        if is_envelope(items):
            return ENCRYPTED
        if not isinstance(items, (list, tuple)):
            return self.blank(items)
        if calls == "one":
            return [self.call(called, [item], {}, 0)[0][0] for item in items]
        return [self.call(called, item, {}, 0)[0] for item in items]

    def call(self, rules: Rules, args: Any, kwargs: Any, depth: int = 0) -> tuple[Any, Any]:
        """Return copies of the arguments of another call, by its own rules."""
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
        for name in ("name", "key"):  # as in {"name": "password", "value": …}
            if isinstance(value.get(name), str) and is_sensitive(value[name], self.sensitive):
                shown |= {"value": self.blank(value["value"])} if "value" in value else {}
        if isinstance(value.get("task"), str) and ("args" in value or "kwargs" in value):
            shown |= self._signature(value, depth)
        return shown

    def _signature(self, form: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Return copies of the arguments in the JSON form of a signature."""
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
        return blanked_text(text, self.sensitive, self.blank)


def _is_pair(value: Sequence[Any]) -> bool:
    return len(value) == 2 and isinstance(value[0], str)
