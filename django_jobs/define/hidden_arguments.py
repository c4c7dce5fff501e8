"""Which arguments of a job are hidden.

If this process does not have a job's function, all arguments are hidden, because only the function
has the names of its parameters and its ``sensitive=``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..redaction import is_sensitive
from . import registry, row_options
from .call_signature import positional

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from .conversion import ArgumentTypes

#: The package's job functions that call another one, and how many arguments an item is.
CALLERS = {"django_jobs.map": "one", "django_jobs.starmap": "all"}


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Which arguments of a call are hidden, by the parameters' names and ``sensitive=``."""

    #: The parameters that positional arguments fill, in order.
    positional: tuple[str, ...] = ()
    #: The keyword-only parameters.
    named: frozenset[str] = frozenset()
    #: The names of ``*args`` and of ``**kwargs``.
    rest: str | None = None
    keywords: str | None = None
    sensitive: tuple[str, ...] = ()
    #: The names in ``encrypt=``, or True for all. Rows have these arguments encrypted.
    encrypted: bool | tuple[str, ...] = ()
    #: Without the function's rules nothing is shown.
    is_known: bool = True
    #: Results of other jobs may come before the arguments, any number of them.
    is_partial: bool = False
    #: For the package's map ("one") and starmap ("all"): how many arguments an item is.
    calls: str = ""
    #: The converters of the arguments, and how many results come before those of the row.
    types: ArgumentTypes | None = None
    taken: int = 0

    def hides_position(self, position: int) -> bool:
        """Return whether the positional argument at *position* is hidden."""
        if not self.is_known or self._any_at(position, self._hides):
            return True
        # An argument without a parameter may be meant for any of them.
        return self.rest is None and position >= len(self.positional)

    def hides_name(self, name: str) -> bool:
        """Return whether the keyword argument *name* is hidden."""
        return not self.is_known or self._any_named(name, self._hides)

    def encrypts_position(self, position: int) -> bool:
        """Return whether a row has the positional argument at *position* encrypted."""
        return self.encrypted is True or self._any_at(position, self._encrypts)

    def encrypts_name(self, name: str) -> bool:
        """Return whether a row has the keyword argument *name* encrypted."""
        return self._any_named(name, self._encrypts)

    def decrypted(self) -> Rules:
        """Return the rules for people who may see what is encrypted."""
        return dataclasses.replace(self, encrypted=())

    def _any_at(self, position: int, holds: Callable[[str], bool]) -> bool:
        names = self.positional[position : None if self.is_partial else position + 1]
        is_rest = self.is_partial or position >= len(self.positional)
        rest = self.rest if is_rest else None
        return any(map(holds, names)) or (rest is not None and holds(rest))

    def _any_named(self, name: str, holds: Callable[[str], bool]) -> bool:
        is_own = name in self.positional or name in self.named
        rest = None if is_own else self.keywords
        return holds(name) or (rest is not None and holds(rest))

    def _hides(self, name: str) -> bool:
        return is_sensitive(name, self.sensitive) or self._encrypts(name)

    def _encrypts(self, name: str) -> bool:
        return self.encrypted is True or (self.encrypted is not False and name in self.encrypted)


#: The rules of a job whose function this process does not have.
UNKNOWN = Rules(is_known=False)


def rules_of(name: Any, options: str | None = None) -> Rules:
    """Return the rules for the row of a job of that *name*.

    *options* is the row's JSON text. If it says that the job takes a result first, the row's
    arguments fill the parameters from the second one on.
    """
    function = registry.find(name) if isinstance(name, str) else None
    stored = row_options.parse(options)
    if function is None or stored.problem:
        return UNKNOWN
    rules = rules_of_function(function)
    if stored.workflow.taken_as is None:
        return rules
    return dataclasses.replace(rules, positional=rules.positional[1:], taken=1)


@functools.cache
def rules_of_function(function: JobFunction[..., Any, Any]) -> Rules:
    """Return the rules for a call of *function* with all its arguments."""
    encrypt = function.options.encrypt
    return dataclasses.replace(
        _rules(function.call_signature, function.options.sensitive),
        encrypted=encrypt if isinstance(encrypt, bool) else tuple(encrypt),
        calls=CALLERS.get(function.name, ""),
        types=function.argument_types,
    )


def called_name(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the name of the function that a call of the package's map or starmap calls."""
    return kwargs.get("name", args[0] if args else None) if name in CALLERS else None


def rules_of_callable(function: Callable[..., Any], sensitive: Sequence[str]) -> Rules:
    """Return the rules for a call of a function that is no job; *sensitive* adds to the names."""
    try:
        return _rules(inspect.signature(function), sensitive)
    except (TypeError, ValueError):  # a function in C may have no signature
        return UNKNOWN


def _rules(signature: inspect.Signature, sensitive: Sequence[str]) -> Rules:
    parameters = signature.parameters.values()
    by_kind = {parameter.kind: parameter.name for parameter in parameters}
    return Rules(
        positional=positional(signature),
        named=frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        rest=by_kind.get(inspect.Parameter.VAR_POSITIONAL),
        keywords=by_kind.get(inspect.Parameter.VAR_KEYWORD),
        sensitive=tuple(sensitive),
    )
