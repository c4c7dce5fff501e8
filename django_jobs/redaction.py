"""Keeps secrets out of logs, pages and tracebacks, always (not only when DEBUG is off)."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from .conf import get_settings

REDACTED = "********"

_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "api_key", "apikey",
    "access_key", "private_key", "credential", "credit_card", "card_number", "cvv", "cvc", "ssn",
    "cookie", "session_id", "sessionid", "signature_key",
)  # fmt: skip
_WORDS = frozenset({"card", "pin", "auth", "pwd", "pass", "otp", "iban"})
# A secret shorter than this would blank out innocent parts of a text.
_SHORTEST_SECRET = 4


def is_sensitive(name: str, sensitive: Iterable[str] = ()) -> bool:
    """Tell whether a value of that *name* is never shown; *sensitive* adds exact names."""
    lowered = name.lower().replace("-", "_")
    return (
        lowered in {extra.lower() for extra in sensitive}
        or any(part in lowered for part in _NAMES)
        or any(part.lower() in lowered for part in get_settings().sensitive_names)
        or not _WORDS.isdisjoint(re.split(r"[_\W]+", lowered))
    )


def redact(value: Any, sensitive: Iterable[str] = ()) -> Any:
    """Return a copy of a JSON *value* in which the values under sensitive names are blanked."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED if is_sensitive(str(key), sensitive) else redact(item, sensitive)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, sensitive) for item in value]
    return value


def redact_arguments(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    parameters: Sequence[str] = (),
    sensitive: Iterable[str] = (),
) -> tuple[list[Any], dict[str, Any]]:
    """Return both kinds of arguments redacted; *parameters* names the positional ones."""
    shown = [
        REDACTED
        if position < len(parameters) and is_sensitive(parameters[position], sensitive)
        else redact(value, sensitive)
        for position, value in enumerate(args)
    ]
    return shown, redact(dict(kwargs), sensitive)


def redact_signature(signature: inspect.Signature, sensitive: Iterable[str] = ()) -> str:
    """Return *signature* as a text, with the defaults of sensitive parameters blanked."""
    shown = [
        parameter.replace(default=_Blank())
        if parameter.default is not parameter.empty and is_sensitive(parameter.name, sensitive)
        else parameter
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown))


class _Blank:
    def __repr__(self) -> str:
        return REDACTED


def secrets_in(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    parameters: Sequence[str] = (),
    sensitive: Iterable[str] = (),
) -> set[str]:
    """Return the texts of all sensitive values among the arguments, to blank them in messages.

    With each text its forms that are escaped, as messages often quote what they name.
    """
    found: set[str] = set()
    for position, value in enumerate(args):
        name = parameters[position] if position < len(parameters) else ""
        found.update(_secrets(name, value, sensitive))
    for name, value in kwargs.items():
        found.update(_secrets(name, value, sensitive))
    return found


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """Return *text* with every one of the *secrets* blanked, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def redact_values(value: Any, secrets: Collection[str]) -> Any:
    """Return a copy of a JSON *value* with every one of the *secrets* blanked, in keys, too."""
    if isinstance(value, str):
        return redact_text(value, secrets)
    if isinstance(value, Mapping):
        return {
            redact_text(key, secrets): redact_values(item, secrets) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_values(item, secrets) for item in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return REDACTED if number and str(value) in secrets else value


def _secrets(name: str, value: Any, sensitive: Iterable[str]) -> Iterator[str]:
    if name and is_sensitive(name, sensitive):
        yield from _leaves(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(str(key), item, sensitive)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets("", item, sensitive)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif value is not None and len(text := str(value)) >= _SHORTEST_SECRET:
        yield text
        if not (text.isascii() and text.isalnum()):
            yield from _escaped(text)


def _escaped(text: str) -> Iterator[str]:
    """Yield *text* as it stands within a repr, a JSON text and a URL."""
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    # A repr escapes the apostrophes, too, when both kinds of quotes stand in it.
    yield repr(f"{text}'\"")[1:-4]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    for safe in ("/", ""):
        yield quote(text, safe, errors="surrogatepass")
        yield quote_plus(text, safe, errors="surrogatepass")
