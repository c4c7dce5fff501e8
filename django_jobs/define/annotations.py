"""Finds the converter of an annotation."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from .containers import Either, Entries, Fields, Items
from .converters import ANY, TYPES, UNKNOWN, Choice, Converter, Member, Text
from .records import Keys, Model, Record

_PLAIN: Mapping[Any, Converter] = {
    Any: ANY,
    object: ANY,
    str: Converter(str),
    bool: Converter(bool),
    int: Converter(int),
    float: Converter(int, float),
    types.NoneType: Converter(types.NoneType),
}
NONE = _PLAIN[types.NoneType]
_abc = collections.abc
# The types that are made of a JSON list and of a JSON object.
_LISTS: Mapping[Any, type] = {
    **dict.fromkeys([list, _abc.Sequence, _abc.MutableSequence], list),
    **dict.fromkeys([_abc.Iterable, _abc.Collection, _abc.Container, _abc.Reversible], list),
    **dict.fromkeys([set, _abc.Set, _abc.MutableSet], set),
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_DICTS: Mapping[Any, type] = {
    **dict.fromkeys([dict, _abc.Mapping, _abc.MutableMapping], dict),
    collections.OrderedDict: collections.OrderedDict,
}
# Python 3.12's ``type X = …``.
_ALIAS: Any = getattr(typing, "TypeAliasType", None)


def hints_of(thing: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class, without those that cannot be evaluated.

    Names that only type checkers import cannot be.
    """
    try:
        return typing.get_type_hints(thing)
    except Exception:
        found: dict[str, Any] = {}
        for name, written, names in _written(thing):
            alone = types.SimpleNamespace(__annotations__={name: written})
            try:
                found[name] = typing.get_type_hints(alone, *names)[name]
            except Exception:
                found.pop(name, None)
        return found


def parameter_hints(thing: Any) -> dict[str, Any]:
    """Return the annotations of the parameters of a function, or of a class that is called."""
    if not isinstance(thing, type) or dataclasses.is_dataclass(thing):
        return hints_of(thing)
    return hints_of(thing.__init__)  # type: ignore[misc]


def item_of(hint: Any) -> Any:
    """Return the type of the items of a list or a tuple, also of ``list[T] | None``, or Any."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [each for each in args if each is not types.NoneType]
        return item_of(others[0]) if len(others) == 1 else Any
    is_list = typing.get_origin(hint) in (list, tuple, _abc.Sequence, _abc.MutableSequence)
    return args[0] if is_list and args else Any


def unpacked(hint: Any) -> Any:
    """Return the type that ``*hint`` or ``Unpack[hint]`` unpacks, or None for another *hint*."""
    if typing.get_origin(hint) is typing.Unpack:
        return typing.get_args(hint)[0]
    return hint if getattr(hint, "__unpacked__", False) else None


def _written(thing: Any) -> Iterator[tuple[str, Any, tuple[Any, Any]]]:
    """Yield each annotation as it is written, with the namespaces that its names are in."""
    if isinstance(thing, type):
        for base in reversed(thing.__mro__):
            module = getattr(sys.modules.get(base.__module__), "__dict__", {})
            for name, written in vars(base).get("__annotations__", {}).items():
                yield name, written, (module, dict(vars(base)))
        return
    while hasattr(thing, "__wrapped__"):
        thing = thing.__wrapped__
    for name, written in getattr(thing, "__annotations__", {}).items():
        yield name, written, (getattr(thing, "__globals__", {}), None)


class Converters:
    """Makes the converters of annotations; classes may contain themselves."""

    def __init__(self) -> None:
        self._known: dict[Any, Converter] = {}

    def of_annotation(self, hint: Any) -> Converter:
        """Return what :meth:`of` does; an annotation that cannot be read changes nothing."""
        try:
            return self.of(hint)
        except Exception:  # metaclasses, __init__() and reprs of members are code of the project
            return UNKNOWN

    def of(self, hint: Any, variables: Mapping[Any, Any] | None = None) -> Converter:
        """Return the converter of *hint*. *variables* are the types of a generic's variables."""
        names = variables or {}
        if isinstance(hint, typing.TypeVar):
            return self.of(names[hint]) if hint in names else UNKNOWN
        if isinstance(hint, typing.NewType):
            return self.of(hint.__supertype__)
        origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin in (typing.Annotated, typing.Final):
            return self.of(args[0], names)
        if _ALIAS is not None and isinstance(origin, _ALIAS):
            return self._alias(hint, origin, args, names)
        if origin in (typing.Union, types.UnionType):
            return Either([self.of(each, names) for each in args])
        if origin is typing.Literal:
            return Choice(args)
        if origin is tuple:
            return self._tuple(args, names)
        if origin in _LISTS:
            item = self.of(args[0], names) if args else ANY
            plain = _LISTS[origin] is list and not args
            return Converter(list) if plain else Items(_LISTS[origin], item)
        if origin in _DICTS:
            key, value = [self.of(each, names) for each in args] or (ANY, ANY)
            plain = _DICTS[origin] is dict and not args
            return Converter(dict) if plain else Entries(_DICTS[origin], key, value)
        return self._class(hint, origin, args) if isinstance(origin, type) else _plain(origin)

    def _alias(self, hint: Any, alias: Any, args: Any, names: Mapping[Any, Any]) -> Converter:
        if hint not in self._known:
            # An alias may be recursive, and is what it stands for only afterwards.
            whole = self._known[hint] = Either([])
            given = {**names, **dict(zip(alias.__type_params__, args, strict=False))}
            whole.members = [self.of(alias.__value__, given)]
            whole.wanted = alias.__name__
        return self._known[hint]

    def _tuple(self, args: Any, names: Mapping[Any, Any]) -> Converter:
        if not args or any(unpacked(each) is not None for each in args):
            # Of ``tuple[int, *tuple[Decimal, ...]]`` the position does not tell the type.
            return Items(tuple, ANY)
        if len(args) == 2 and args[1] is ...:
            return Items(tuple, self.of(args[0], names))
        found = Fields(tuple)
        found.items = [self.of(each, names) for each in args]
        found.least = len(args)
        return found

    def _class(self, hint: Any, kind: Any, args: Any) -> Converter:
        if kind in _PLAIN:
            return _PLAIN[kind]
        if issubclass(kind, enum.Enum):
            return Member(kind)
        for base in kind.__mro__:
            if base in TYPES:
                return Text(kind, base)
        if hint not in self._known:
            self._known[hint] = UNKNOWN
            names = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
            self._known[hint] = self._record(hint, kind, names)
        return self._known[hint]

    def _record(self, hint: Any, kind: Any, names: Mapping[Any, Any]) -> Converter:
        found: Record | Keys | Fields
        if dataclasses.is_dataclass(kind):
            found = Record(kind)
            fields = [each.name for each in dataclasses.fields(kind) if each.init]
        elif typing.is_typeddict(kind):
            found, fields = Keys(kind), list(hints_of(kind))
        elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
            found, fields = Fields(kind), list(kind._fields)
            found.least = len(fields) - len(kind._field_defaults)
        else:
            # Only who has imported pydantic can have a model.
            base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
            return Model(kind) if base is not None and issubclass(kind, base) else UNKNOWN
        self._known[hint] = found
        hints = hints_of(kind)
        every = {name: self.of(hints.get(name, Any), names) for name in fields}
        if isinstance(found, Fields):
            found.items = list(every.values())
        else:
            found.fields = every
        return found


def _plain(hint: Any) -> Converter:
    try:
        return _PLAIN.get(hint, UNKNOWN)
    except TypeError:  # not hashable
        return UNKNOWN
