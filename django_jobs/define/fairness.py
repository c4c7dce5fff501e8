"""Fair queues: by which key the jobs of a queue take turns, and how many jobs a turn has."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from .. import serialization
from ..conf import Settings, get_settings
from ..exceptions import EncryptionError
from ..redaction import is_sensitive
from ..serialization import type_of
from . import registry
from .dotted_paths import import_problem
from .envelopes import opened_call
from .hidden_arguments import rules_of_function
from .key_values import digest
from .row_options import read
from .sensitive import shown_arguments

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..models import Job

#: The most jobs of one key in a turn.
MOST_WEIGHT = 100

# A stored key is a place on a ring, a colon and the value. The place is a digest of the value: the
# keys lie evenly on the ring, and workers that begin at random places begin at different keys.
_PLACE = 8
_LONGEST_VALUE = 200 - _PLACE - 1
_MISSING: Any = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Fairness:
    """How the jobs of one queue take turns: ``FAIR_BY`` and ``WEIGHTS`` of its settings.

    ``by`` is a name or a callable, ``weights`` a dict from stored keys to numbers, or a callable.
    """

    by: str | Callable[[str, Sequence[Any], Mapping[str, Any]], object]
    weights: Mapping[str, int] | Callable[[str], object]

    def key_of(
        self,
        function: JobFunction[..., Any, Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        taken: int = 0,
    ) -> str:
        """Return the stored key of a call with these JSON arguments.

        *taken* results come before *args*. Raises ``ArgumentError`` for a value that is no JSON,
        and the exceptions of a callable.
        """
        if not isinstance(self.by, str):
            return self._key_by_callable(function, args, kwargs, headers, taken)
        value = _argument(function, self.by, args, kwargs, taken)
        sensitive = tuple(function.options.sensitive)
        if value is _MISSING:
            value = headers.get(self.by)
            return stored_key(value, is_secret=is_sensitive(self.by, sensitive))
        types = function.argument_types
        if types is not None:
            value = types.encode_bound({self.by: value})[self.by]
        return stored_key(value, is_secret=rules_of_function(function).hides_name(self.by))

    def _key_by_callable(
        self,
        function: JobFunction[..., Any, Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        taken: int,
    ) -> str:
        assert not isinstance(self.by, str)
        types = function.argument_types
        seen = (args, kwargs) if types is None else types.seen(args, kwargs, taken)
        value = self.by(function.name, *seen)
        rules = dataclasses.replace(rules_of_function(function), is_partial=taken > 0)
        secrets = shown_arguments(rules, list(args), kwargs, dict(headers)).secrets
        text = _text_of(value)
        is_secret = bool(function.options.encrypt) or secrets.blanked(text) != text
        return stored_key(text, is_secret=is_secret)

    def weight_of(self, key: str) -> object:
        """Return how many jobs the turn of the stored *key* has, as the settings say it."""
        if callable(self.weights):
            return self.weights(value_of(key))
        return self.weights.get(key, 1)


def stored_key(value: object, *, is_secret: bool = False) -> str:
    """Return the key that the row of a job with that *value* has.

    A secret and a long value are stored as a digest. Raises ``ArgumentError`` for no JSON.
    """
    text = _text_of(value)
    if is_secret:
        text = f"~{digest(text)[:32]}"
    elif len(text) > _LONGEST_VALUE:
        text = f"~{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return f"{hashlib.sha256(text.encode()).hexdigest()[:_PLACE]}:{text}"


def _text_of(value: object) -> str:
    limit = get_settings().max_payload_bytes
    canonical = serialization.canonical(value, where="FAIR_BY", max_bytes=limit)
    return value if isinstance(value, str) else "" if value is None else canonical


def value_of(key: str) -> str:
    """Return the text of a stored *key*'s value; a digest begins with ``~``."""
    return key[_PLACE + 1 :]


def random_place(bits: Callable[[int], int]) -> str:
    """Return a random place on the ring of keys; *bits* is as :func:`random.getrandbits`."""
    return f"{bits(4 * _PLACE):0{_PLACE}x}"


def fair_queues() -> Mapping[str, Fairness]:
    """Return the fair queues of the settings, by name."""
    settings = get_settings()
    return _fair_queues(_Same(settings)) if settings.queues else _NONE


def key_of_row(fairness: Fairness, job: Job) -> str | None:
    """Return the stored key of a job that is a row already.

    None if this process has no function or no key for it, or if its arguments were edited.
    """
    function, headers = registry.find(job.name), job.headers or {}
    is_call = isinstance(job.args, list) and isinstance(job.kwargs, dict)
    if function is None or not is_call or not isinstance(headers, dict):
        return None
    try:
        args, kwargs = opened_call(job.args, job.kwargs)
    except EncryptionError:
        return None
    taken = 0 if read(job.options).workflow.taken_as is None else 1
    return fairness.key_of(function, args, kwargs, headers, taken)


_NONE: Mapping[str, Fairness] = {}


class _Same:
    """Settings as the key of a cache: they hold dicts, so they have no hash of their own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __hash__(self) -> int:
        return id(self.settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.settings is self.settings


@functools.lru_cache(maxsize=4)
def _fair_queues(same: _Same) -> Mapping[str, Fairness]:
    return {
        name: Fairness(_resolved(options["FAIR_BY"]), _weights(options.get("WEIGHTS")))
        for name, options in same.settings.queues.items()
        if options.get("FAIR_BY") is not None
    }


def _resolved(given: Any) -> Any:
    """Return the function that a dotted path names, or what is no dotted path."""
    return import_string(given) if isinstance(given, str) and "." in given else given


def _weights(given: Any) -> Any:
    found = _resolved(given)
    if not isinstance(found, Mapping):
        return found or {}
    # A sensitive parameter's value is stored as a digest.
    return {
        stored_key(value, is_secret=is_secret): weight
        for value, weight in found.items()
        for is_secret in (False, True)
    }


def weight_problem(weight: object, name: str = "WEIGHTS") -> str:
    """Return why *weight*, which *name* has, is none, or an empty text."""
    if isinstance(weight, int) and not isinstance(weight, bool) and 1 <= weight <= MOST_WEIGHT:
        return ""
    shown = repr(weight) if isinstance(weight, (int, float)) else type_of(weight)
    return f"{name} must be a whole number from 1 to {MOST_WEIGHT}, got {shown}."


def fairness_problems(options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with ``FAIR_BY`` and ``WEIGHTS`` of a queue's settings."""
    by, weights = options.get("FAIR_BY"), options.get("WEIGHTS")
    if by is None:
        return ["WEIGHTS has no effect without FAIR_BY."] if weights is not None else []
    problems = []
    if not (callable(by) or (isinstance(by, str) and by.strip() == by != "")):
        problems.append(
            "FAIR_BY must be the name of a parameter or of a header, the dotted path of a "
            f"function, or a function, got {type_of(by)}."
        )
    elif isinstance(by, str) and "." in by:
        problems.append(import_problem("FAIR_BY", by))
    if isinstance(weights, str):
        problems.append(import_problem("WEIGHTS", weights))
    elif isinstance(weights, Mapping):
        problems += [weight_problem(weight, f"WEIGHTS[{key!r}]") for key, weight in weights.items()]
    elif weights is not None and not callable(weights):
        problems.append(
            "WEIGHTS must be a dict from keys to whole numbers, the dotted path of a function, or "
            f"a function, got {type_of(weights)}."
        )
    return [problem for problem in problems if problem]


def _argument(
    function: JobFunction[..., Any, Any],
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    taken: int,
) -> Any:
    """Return the argument of the parameter *name*, or its default, or ``_MISSING``."""
    if name in kwargs:
        return kwargs[name]
    parameter = function.call_signature.parameters.get(name)
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return _MISSING
    if name in function.parameters:
        at = function.parameters.index(name) - taken
        if at < 0:
            return _MISSING  # the result of another job, which is not there yet
        if at < len(args):
            return args[at]
    return _MISSING if parameter.default is parameter.empty else parameter.default
