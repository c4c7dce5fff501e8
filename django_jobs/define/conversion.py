"""The types of a job function's arguments and of its result, as its annotations say.

They are found once for each function, at its first call or run. A function whose annotations JSON
keeps has none, and pays one comparison.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ArgumentError
from ..serialization import type_of
from .annotations import NONE, Converters, hints_of, item_of, parameter_hints, unpacked
from .containers import Either, Entries, Items
from .converters import ANY, Converter, Mismatch, converts
from .records import Keys

if TYPE_CHECKING:
    from ..api.job import JobFunction

_REST, _KEYWORDS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclasses.dataclass(frozen=True, slots=True)
class ArgumentTypes:
    """The converters of one function's arguments. An argument without one stays as it is."""

    function: str
    positions: Sequence[tuple[str, Converter | None]]
    rest: tuple[str, Converter | None]
    names: Mapping[str, Converter | None]
    keywords: Converter | None
    #: Of the parameters' values, as a bound signature has them.
    bound: Mapping[str, Converter]

    def encode(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], taken: int = 0
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments as JSON; what no annotation converts stays as it is.

        *taken* results come before *args* when the job runs. Raises ``ArgumentError`` for a value
        that its annotation does not bring back.
        """

        def encoded(name: str, converter: Converter, value: Any) -> Any:
            try:
                return converter.encode(value)
            except ArgumentError as error:
                raise ArgumentError(f"Argument {name!r} of {self.function}: {error}") from None
            except RecursionError:
                raise ArgumentError(
                    f"Argument {name!r} of {self.function} contains itself, or nests too deep. "
                    "Pass a flatter value."
                ) from None

        return self._each(encoded, args, kwargs, taken)

    def decode(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments that the body gets for JSON.

        Raises ``ArgumentError`` for one that does not convert; the message shows no value.
        """

        def decoded(name: str, converter: Converter, value: Any) -> Any:
            try:
                return converter.decode(value)
            except Mismatch as mismatch:
                raise ArgumentError(mismatch.message(name, self.function)) from None

        return self._each(decoded, args, kwargs)

    def seen(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], taken: int = 0
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return what :meth:`decode` does; an argument that does not convert stays JSON."""
        return self._each(lambda _name, converter, value: brought_back(converter, value),
                          args, kwargs, taken)  # fmt: skip

    def encode_bound(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of parameters as JSON, the same for all spellings of a value."""
        return {
            name: known.encode(brought_back(known, value))
            if (known := self.bound.get(name))
            else value
            for name, value in arguments.items()
        }

    def _each(
        self, apply: Any, args: Sequence[Any], kwargs: Mapping[str, Any], taken: int = 0
    ) -> tuple[list[Any], dict[str, Any]]:
        known = [*self.positions[taken:], *[self.rest] * len(args)]
        found_args = [
            value if converter is None else apply(name, converter, value)
            for (name, converter), value in zip(known, args, strict=False)
        ]
        found_kwargs = {
            name: value
            if (converter := self.names.get(name, self.keywords)) is None
            else apply(name, converter, value)
            for name, value in kwargs.items()
        }
        return found_args, found_kwargs


def argument_types(function: JobFunction[..., Any, Any]) -> ArgumentTypes | None:
    """Return the converters of the arguments of *function*, or None if JSON keeps them all."""
    parameters = function.call_signature.parameters.values()
    found, options = _found(function)
    if not found and options is None:
        return None
    rest = next((each.name for each in parameters if each.kind is _REST), "")
    keywords = next((each.name for each in parameters if each.kind is _KEYWORDS), "")
    bound = dict(found)
    if rest in found:
        bound[rest] = Items(list, found[rest])
    if keywords in found:
        bound[keywords] = Entries(dict, ANY, found[keywords])
    names = {each.name: found.get(each.name) for each in parameters if each.kind in _BY_NAME}
    if options is not None:
        bound[keywords], names = options, {**options.fields, **names}
    return ArgumentTypes(
        function.name,
        [(each.name, found.get(each.name)) for each in parameters if each.kind in _BY_POSITION],
        (rest, found.get(rest)),
        names,
        found.get(keywords),
        bound,
    )


def _found(function: JobFunction[..., Any, Any]) -> tuple[dict[str, Converter], Keys | None]:
    """Return the converters by parameter, and that of ``**options: Unpack[SomeTypedDict]``."""
    hints, converters = parameter_hints(function.called), Converters()
    found: dict[str, Converter] = {}
    options = None
    for each in function.call_signature.parameters.values():
        if each.annotation is each.empty or each.name not in hints:
            continue
        hint = hints[each.name]
        keyed = each.kind is _KEYWORDS and unpacked(hint) is not None
        converter = converters.of_annotation(unpacked(hint) if keyed else hint)
        if not converts(converter):
            continue
        if keyed:
            options = converter if isinstance(converter, Keys) else None
        else:
            # ``when: date = None`` is common, and means ``date | None``.
            found[each.name] = Either([converter, NONE]) if each.default is None else converter
    return found, options


def result_type(function: JobFunction[..., Any, Any]) -> Converter | None:
    """Return the converter of the result of *function*, or None if JSON keeps the result."""
    hint = hints_of(function.__wrapped__).get("return", Any)
    if function.options.batch_size is not None:
        hint = item_of(hint)  # the body returns a list of results
    converter = Converters().of_annotation(hint)
    return converter if converts(converter) else None


def refuse_misfits(
    function: JobFunction[..., Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Raise ``ArgumentError`` for JSON that the body's annotations do not convert."""
    if function.argument_types is not None:
        function.argument_types.decode(args, kwargs)


def items_of(
    function: JobFunction[..., Any, Any], items: Iterable[Sequence[Any]]
) -> list[list[Any]]:
    """Return the arguments of several calls as JSON."""
    types = function.argument_types
    return [list(item) if types is None else types.encode(item, {})[0] for item in items]


def brought_back(converter: Converter, value: Any) -> Any:
    """Return the value that the JSON *value* stands for, or *value* if it does not convert."""
    try:
        return converter.decode(value)
    except Mismatch:
        return value


def json_of(value: Any) -> Any:
    """Return the JSON of *value* by its own type, as that of a key, which nobody decodes."""
    if isinstance(value, (list, tuple)):
        return [json_of(each) for each in value]
    if isinstance(value, dict):
        return {key: json_of(each) for key, each in value.items()}
    return Converters().of_annotation(type(value)).encode(value)


def encoded_result(converter: Converter, value: Any) -> Any:
    """Return the JSON of a result. Raises ``ArgumentError`` for one that JSON cannot bring back."""
    try:
        return converter.encode(value)
    except ArgumentError as error:
        raise ArgumentError(f"The result: {error}") from None
    except Exception as error:  # properties are code of the project
        raise ArgumentError(
            f"The result is {type_of(value)}, and reading it for JSON raised "
            f"{type(error).__name__}. Return a value whose fields can be read."
        ) from None


def spellings(value: Any) -> Iterator[str]:
    """Yield the texts in which a message may show the parts of *value*, if its JSON differs."""
    if isinstance(value, (bytes, bytearray)):
        yield from (
            value.decode(errors="replace"),
            value.decode("latin-1"),
            repr(bytes(value))[2:-1],
        )
    elif isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        yield from (str(value), repr(value))
    elif isinstance(value, Mapping):
        yield from spellings([*value, *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from spellings(each)
    elif dataclasses.is_dataclass(value):
        yield from spellings([getattr(value, each.name) for each in dataclasses.fields(value)])
