"""Convert what has named fields: dataclasses, typed dicts and pydantic models."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..exceptions import ArgumentError
from ..serialization import class_named, type_of
from .converters import ANY, TYPES, Converter, converts, walked, within

_CHANGED = tuple(TYPES)


class Record(Converter):
    """A dataclass: a JSON object of its fields."""

    changes = True

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self.kind, self.wanted = kind, class_named(kind)
        self.fields: dict[str, Converter] = {}
        taken = inspect.signature(kind).parameters
        own = {each.name for each in dataclasses.fields(kind) if each.init}
        self.lost = sorted(taken.keys() - own)

    def parts(self) -> Iterable[Converter]:
        return self.fields.values()

    def is_own(self, value: object) -> bool:
        # A subclass may have more fields.
        return type(value) is self.kind

    def encode(self, value: Any) -> Any:
        if isinstance(value, dict):
            return _known(self.fields, value)
        if not self.is_own(value):
            return value
        if self.lost:
            raise ArgumentError(
                f"{self.wanted} takes {self.lost[0]!r} and has no field of that name, so that it "
                "could not be made again (InitVar). Make it a field."
            )
        return {name: self._field(name, getattr(value, name)) for name in self.fields}

    def _field(self, name: str, value: Any) -> Any:
        if name in self._kept and isinstance(value, _CHANGED):
            raise ArgumentError(
                f"{self.kind.__name__}.{name} is {type_of(value)}, and its annotation does not say "
                "so: the job would get a text. Annotate the field."
            )
        return self.fields[name].encode(value)

    @functools.cached_property
    def _kept(self) -> frozenset[str]:
        """The names of the fields whose annotations change nothing."""
        return frozenset(name for name, each in self.fields.items() if not converts(each))

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.mismatch(value)
        if unknown := value.keys() - self.fields.keys():
            raise self.mismatch(value, f", which has no field {min(unknown, key=str)!r:.100}")
        found = {name: within(f".{name}", self.fields[name], value[name]) for name in value}
        try:
            return self.kind(**found)
        except Exception as error:  # __post_init__() is code of the project
            raise self.mismatch(value, f", which raised {type(error).__name__}") from None


def without_fields(converter: Converter) -> Record | None:
    """Return the first dataclass in *converter* that takes something that it does not keep."""
    records = (each for each in walked(converter) if isinstance(each, Record) and each.lost)
    return next(records, None)


class Keys(Converter):
    """A ``TypedDict``: a JSON object; other keys stay as they are."""

    def __init__(self, kind: type) -> None:
        super().__init__(dict)
        self.wanted = class_named(kind)
        self.fields: dict[str, Converter] = {}

    def parts(self) -> Iterable[Converter]:
        return self.fields.values()

    def encode(self, value: Any) -> Any:
        return _known(self.fields, value) if isinstance(value, dict) else value

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.mismatch(value)
        return {
            key: within(f"[{key!r}]", self.fields.get(key, ANY), each)
            for key, each in value.items()
        }


def _known(fields: Mapping[str, Converter], value: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: fields.get(key, ANY).encode(each) for key, each in value.items()}


class Model(Converter):
    """A pydantic model, by its own JSON."""

    changes = True

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self.kind, self.wanted = kind, class_named(kind)
        # Before pydantic 2.11 the aliases of a model must be the same in both directions.
        by_name = "by_name" in inspect.signature(kind.model_validate_json).parameters
        self.read: dict[str, Any] = {"by_name": True, "by_alias": True} if by_name else {}
        self.written = {"round_trip": True, "by_alias": not by_name}

    def is_own(self, value: object) -> bool:
        return type(value) is self.kind

    def encode(self, value: Any) -> Any:
        if not self.is_own(value):
            return value
        found: Any = None
        with contextlib.suppress(Exception):  # the model's serializers are code of the project
            found = json.loads(value.model_dump_json(**self.written))
            if self.decode(found) == value:
                return found
        raise ArgumentError(
            f"{self.wanted} does not come back equal from its own JSON, as with SecretStr, "
            "excluded fields and private attributes. Pass what the job needs of it."
        )

    def decode(self, value: Any) -> Any:
        try:
            # In JSON strict models take texts for dates.
            return self.kind.model_validate_json(json.dumps(value), **self.read)
        except Exception:  # its message has values
            raise self.mismatch(value) from None
