"""Convert collections and unions: what is made of other converters."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..serialization import class_named
from .converters import SCALARS, UNKNOWN, Converter, Mismatch, within


class Items(Converter):
    """A list, a set, or another collection of any length: a JSON list."""

    wanted = "a list"

    def __init__(self, make: type, item: Converter) -> None:
        self.is_set = issubclass(make, (set, frozenset))
        super().__init__(*((set, frozenset) if self.is_set else (list, tuple, make)))
        self.make, self.item, self.changes = make, item, make is not list

    def parts(self) -> Iterable[Converter]:
        return (self.item,)

    def encode(self, value: Any) -> Any:
        if not self.is_own(value) and not isinstance(value, list):
            return value
        found = [self.item.encode(each) for each in value]
        if not self.is_own(value) or not self.is_set:
            return found
        if not self.item.changes and not all(isinstance(each, SCALARS) for each in found):
            return value  # as of tuples without annotations, which would become lists
        try:
            # The order of a set differs between processes, and keys are made of it.
            return sorted(found, key=json.dumps)
        except (TypeError, ValueError):  # an item is of another type
            return value

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise self.mismatch(value)
        found = [within(f"[{at}]", self.item, each) for at, each in enumerate(value)]
        if self.make is list:
            return found
        try:
            return self.make(found)
        except TypeError:  # not hashable
            raise self.mismatch(value, " of hashable values") from None


class Fields(Converter):
    """A tuple of a fixed length, or a ``NamedTuple``: a JSON list."""

    changes = True

    def __init__(self, kind: type[tuple[Any, ...]]) -> None:
        super().__init__(tuple, list)
        self.kind, self.wanted = kind, class_named(kind)
        self.items: Sequence[Converter] = ()
        self.least = 0

    def parts(self) -> Iterable[Converter]:
        return self.items

    def encode(self, value: Any) -> Any:
        if not self.is_own(value) or len(value) > len(self.items):
            return value
        return [item.encode(each) for item, each in zip(self.items, value, strict=False)]

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list) or not self.least <= len(value) <= len(self.items):
            raise self.mismatch(value, f" of {len(self.items)} values")
        found = [
            within(f"[{at}]", item, each)
            for at, (item, each) in enumerate(zip(self.items, value, strict=False))
        ]
        return tuple(found) if self.kind is tuple else self.kind(*found)


class Entries(Converter):
    """A dict. Keys that are no texts become the texts of their JSON."""

    wanted = "a dict"

    def __init__(self, make: type, key: Converter, item: Converter) -> None:
        super().__init__(dict)
        self.make, self.key, self.item = make, key, item
        self.has_texts = key is UNKNOWN or (type(key) is Converter and key.is_own(""))
        self.changes = make is not dict or not self.has_texts

    def parts(self) -> Iterable[Converter]:
        return (self.key, self.item)

    def encode(self, value: Any) -> Any:
        if not self.is_own(value):
            return value
        found = {self._text(key): self.item.encode(each) for key, each in value.items()}
        return found if len(found) == len(value) else value

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.mismatch(value)
        found = {self._key(key): within("[…]", self.item, each) for key, each in value.items()}
        return found if self.make is dict else self.make(found)

    def _text(self, key: Any) -> Any:
        text = self.key.encode(key)
        if isinstance(text, str):
            return text
        with contextlib.suppress(Mismatch, TypeError, ValueError):
            text = json.dumps(text, separators=(",", ":"))
            again = self._key(text)
            if type(again) is type(key) and again == key:
                return text
        return key

    def _key(self, text: str) -> Any:
        if self.has_texts:
            return text
        for value in _readings(text):
            with contextlib.suppress(Mismatch):
                return self.key.strict(value)
        raise self.mismatch({}, f" with keys that are {self.key.wanted}")


def _readings(text: str) -> Iterator[Any]:
    yield text
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        yield json.loads(text)


class Either(Converter):
    """A union."""

    def __init__(self, members: Sequence[Converter]) -> None:
        super().__init__()
        self.members = members
        self.wanted = " or ".join(each.wanted for each in members)

    def parts(self) -> Iterable[Converter]:
        return self.members

    def is_own(self, value: object) -> bool:
        return any(member.is_own(value) for member in self.members)

    def encode(self, value: Any) -> Any:
        for member in self.members:
            if member.is_own(value):
                found = member.encode(value)
                with contextlib.suppress(Mismatch):
                    if self._chosen(found)[0] is member:
                        return found
        return value

    def decode(self, value: Any) -> Any:
        return self._chosen(value)[1]

    def _chosen(self, value: Any) -> tuple[Converter, Any]:
        """Return the member that JSON *value* is of, and the value that it becomes.

        That is the member whose own type the JSON has; else the first one whose value becomes the
        same JSON again; else the first one that converts.
        """
        for member in self.members:
            if type(member) is Converter and member.is_own(value):
                return member, value
        found: list[tuple[Converter, Any]] = []
        for member in self.members:
            if type(member) is not Converter:
                with contextlib.suppress(Mismatch):
                    found.append((member, member.decode(value)))
                    if member.encode(found[-1][1]) == value:
                        return found[-1]
        if found:
            return found[0]
        if UNKNOWN in self.members:
            return UNKNOWN, value
        raise self.mismatch(value)
