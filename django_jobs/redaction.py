"""Keeps secrets out of logs, pages and tracebacks, always (not only when DEBUG is off).

Here stands which names are sensitive, and how the texts of secrets are found again in other texts.
:mod:`django_jobs.define.hidden_arguments` says which arguments of a job they are.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from .conf import get_settings

REDACTED = "********"

# Parts of names, without their separators: ``api_key``, ``apiKey`` and ``API Key`` are one.
_NAMES = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "authorization", "apikey",
    "accesskey", "privatekey", "credential", "creditcard", "cardnumber", "cookie", "sessionid",
    "signature", "keystore", "databaseurl", "connectionstring", "accountnumber", "securitycode",
    "recoverycode",
)  # fmt: skip
# Words of names: as a part they would stand in innocent ones.
_WORDS = frozenset({
    "auth", "bearer", "card", "cvc", "cvv", "dsn", "iban", "jwt", "mfa", "otp", "pass", "pin",
    "pwd", "ssn", "totp",
})  # fmt: skip
# Every ``…_key`` is sensitive but these, which name or sort things.
_PLAIN_KEYS = frozenset({
    "", "cache", "concurrency", "file", "foreign", "idempotency", "limit", "natural", "object",
    "partition", "primary", "public", "routing", "s3", "sort", "storage", "unique",
})  # fmt: skip
# A secret shorter than this would blank out innocent parts of a text.
_SHORTEST_SECRET = 4
#: Of more secrets than this none is looked for: the texts are blanked as a whole.
MOST_SECRETS = 100
_MOST_CHARACTERS = 20_000
_MOST_VALUES = 50_000
# What every escape leaves as it is.
_UNCHANGED = re.compile(r"[a-z0-9]+")
# Longer names are those of no parameter; how they are spelled is not remembered.
_LONGEST_NAME = 100
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_LAST_DIGITS = re.compile(r"\d+$")


def is_sensitive(name: str, sensitive: Iterable[str] = ()) -> bool:
    """Tell whether a value of that *name* is never shown; *sensitive* adds whole names."""
    if any(_squashed(name) == _squashed(extra) for extra in sensitive):
        return True
    added = tuple(get_settings().sensitive_names)
    return (_known if len(name) <= _LONGEST_NAME else _known.__wrapped__)(name, added)


@functools.lru_cache(maxsize=4096)
def _known(name: str, added: tuple[str, ...]) -> bool:
    spelled = _BETWEEN_WORDS.sub("_", name).lower().split("_")
    words = [_LAST_DIGITS.sub("", word) for word in spelled]
    squashed, lowered = _squashed(name), name.lower()
    return (
        (words[-1] in ("key", "keys") and len(words) > 1 and spelled[-2] not in _PLAIN_KEYS)
        or not _WORDS.isdisjoint(words)
        or any(part in squashed for part in _NAMES)
        or any(part.lower() in lowered or _squashed(part) in squashed for part in added)
    )


def _squashed(name: str) -> str:
    return _BETWEEN_WORDS.sub("", name).lower() or name


class Secrets:
    """The texts of values that are not shown, to blank them wherever they come up again.

    With each text its forms that are escaped, as messages often quote what they name.
    """

    __slots__ = ("_cores", "_forms", "_known", "is_too_much")

    def __init__(self, values: Iterable[Any] = ()) -> None:
        leaves: set[str] = set()
        size = 0
        #: There are so many that they are not looked for: all texts are blanked.
        self.is_too_much = False
        for number, leaf in enumerate(_leaves(values)):
            if len(leaf) >= _SHORTEST_SECRET:
                leaves.add(leaf)
                size += len(leaf)
            if len(leaves) > MOST_SECRETS or size > _MOST_CHARACTERS or number > _MOST_VALUES:
                self.is_too_much = True
                leaves.clear()
                break
        cores = {form: core for leaf in leaves for form, core in _forms(leaf)}
        self._known = frozenset(leaves)
        self._cores = frozenset(cores.values())
        # The longest first: a secret may be a part of another one.
        self._forms = sorted(cores.items(), key=lambda item: len(item[0]), reverse=True)

    def __bool__(self) -> bool:
        return self.is_too_much or bool(self._known)

    def __repr__(self) -> str:
        return f"<{len(self._known)} texts that are not shown>"

    def blanked(self, text: str) -> str:
        """Return *text* with every secret in it blanked."""
        if self.is_too_much:
            return REDACTED if text else ""
        lowered = text.lower()
        there = {core for core in self._cores if core in lowered}
        for form, core in self._forms if there else ():
            if core in there:
                text = text.replace(form, REDACTED)
        return text

    def blanked_value(self, value: Any) -> Any:
        """Return a copy of a JSON *value* with every secret in it blanked, in keys, too."""
        if not self or value is None:
            return value
        if self.is_too_much:
            return REDACTED
        texts: list[str] = []
        _gather(value, texts)
        # All texts at once: each on its own would be searched once for every secret.
        shown = self.blanked("\0".join(texts)).split("\0") if texts else []
        if len(shown) != len(texts):  # edited by hand: no text that was enqueued has a NUL
            return REDACTED
        return self._rebuilt(value, iter(shown))

    def _rebuilt(self, value: Any, shown: Iterator[str]) -> Any:
        if isinstance(value, str):
            return next(shown)
        if isinstance(value, Mapping):
            return {next(shown): self._rebuilt(item, shown) for item in value.values()}
        if isinstance(value, (list, tuple)):
            return [self._rebuilt(item, shown) for item in value]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return REDACTED if number and str(value) in self._known else value


def _gather(value: Any, texts: list[str]) -> None:
    """Add the texts in *value*, in the order in which they are rebuilt."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            texts.append(str(key))
            _gather(item, texts)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _gather(item, texts)


def _leaves(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts and numbers in *values*, and an empty text for all else that is there."""
    left = [iter(values)]
    while left:
        for value in left[-1]:
            if isinstance(value, (Mapping, list, tuple)):
                yield ""  # counted: what a body returned may hold itself
                left.append(iter(value.values() if isinstance(value, Mapping) else value))
                break
            yield _text_of(value)
        else:
            left.pop()


def _text_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    try:
        return str(value)
    except Exception:  # of an object that only the process knows, and no row holds
        return ""


def _forms(text: str) -> Iterator[tuple[str, str]]:
    """Yield *text* as it stands in other texts, each with a part that no escape changes.

    It may be stripped, in one case, in base64, and escaped once or, as in the repr of a tuple with
    a message, twice.
    """
    core = max(_UNCHANGED.findall(text.lower()), key=len, default="")
    spelled = {text, text.lower(), text.upper()}
    spelled |= {short for form in spelled if len(short := form.strip()) >= _SHORTEST_SECRET}
    escaped = spelled | {form for one in spelled for form in _escaped(one)}
    for form in escaped | {form for one in escaped for form in _quoted(one)}:
        yield form, core
    for form in _in_base64(text.encode(errors="surrogatepass")):
        yield form, ""


def _escaped(text: str) -> Iterator[str]:
    """Yield *text* as it stands in a repr, in bytes, in JSON, in HTML and in a URL."""
    yield from _quoted(text)
    if text.isascii() and text.isalnum():
        return
    data = text.encode(errors="surrogatepass")
    yield repr(data)[2:-1]
    yield repr(data + b"'\"")[2:-4]
    yield html.escape(text)
    for safe in ("/", ""):
        yield quote(text, safe, errors="surrogatepass")
        yield quote_plus(text, safe, errors="surrogatepass")


def _quoted(text: str) -> Iterator[str]:
    if text.isascii() and text.isalnum():
        return
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    # A repr escapes the apostrophes, too, when both kinds of quotes stand in it.
    yield repr(f"{text}'\"")[1:-4]
    yield ascii(f"{text}'\"")[1:-4]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what base64 makes of *data* within other data, as in ``user:password``."""
    for before in range(3):
        # Characters at both ends depend on the data beside it.
        first, end = (before * 8 + 5) // 6, (before + len(data)) * 8 // 6
        if end - first <= _SHORTEST_SECRET:
            continue
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data)[first:end].decode()


#: For texts that have nothing to do with a job's arguments.
NO_SECRETS = Secrets()
