"""Keeps secrets out of logs, pages and tracebacks, also with DEBUG.

This module decides which names are sensitive, and finds secrets in other texts.
:mod:`django_jobs.define.hidden_arguments` decides which arguments of a job are hidden.
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
# Whole words of names, because innocent names contain them, too.
_WORDS = frozenset({
    "auth", "bearer", "card", "cvc", "cvv", "dsn", "iban", "jwt", "mfa", "otp", "pass", "pin",
    "pwd", "ssn", "totp",
})  # fmt: skip
# Every ``…_key`` is sensitive except these, which name or sort things.
_PLAIN_KEYS = frozenset({
    "", "cache", "concurrency", "file", "foreign", "idempotency", "limit", "natural", "object",
    "partition", "primary", "public", "routing", "s3", "sort", "storage", "unique",
})  # fmt: skip
# Shorter secrets would blank innocent parts of a text.
_SHORTEST_SECRET = 4
#: With more secrets than this, texts are blanked as a whole.
MOST_SECRETS = 100
_MOST_CHARACTERS = 20_000
_MOST_VALUES = 50_000
# Characters that no escape changes.
_UNCHANGED = re.compile(r"[a-z0-9]+")
# Longer names are not cached: they are not names of parameters.
_LONGEST_NAME = 100
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_LAST_DIGITS = re.compile(r"\d+$")


def is_sensitive(name: str, sensitive: Iterable[str] = ()) -> bool:
    """Return whether values with that *name* are hidden; *sensitive* adds whole names."""
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
    """Hidden values, to blank their texts wherever they occur.

    It also finds the escaped forms of each text, because messages often quote values.
    """

    __slots__ = ("_cores", "_forms", "_known", "is_too_much")

    def __init__(self, values: Iterable[Any] = ()) -> None:
        leaves: set[str] = set()
        size = 0
        #: There are too many to search for, so that all texts are blanked as a whole.
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
        # The longest first, because a secret may be a part of another one.
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
        # All texts are searched at once, and not each of them once for every secret.
        shown = self.blanked("\0".join(texts)).split("\0") if texts else []
        if len(shown) != len(texts):  # a NUL in a text that was edited by hand
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
    """Add the texts in *value* to *texts*, in the order of ``_rebuilt``."""
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
    """Yield the texts and numbers in *values*, and an empty text for everything else."""
    left = [iter(values)]
    while left:
        for value in left[-1]:
            if isinstance(value, (Mapping, list, tuple)):
                yield ""  # counted, because a returned value may contain itself
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
    except Exception:  # an object that no row can hold
        return ""


def _forms(text: str) -> Iterator[tuple[str, str]]:
    """Yield the forms of *text* in other texts, each with a part that no escape changes.

    The forms are stripped, in upper or lower case, in base64, and escaped once or twice, as in the
    repr of a tuple that contains a message.
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
    """Yield the forms of *text* in a repr, in bytes, in JSON, in HTML and in a URL."""
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
    # A repr also escapes apostrophes when the text has both kinds of quotes.
    yield repr(f"{text}'\"")[1:-4]
    yield ascii(f"{text}'\"")[1:-4]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield the base64 forms of *data* within other data, as in ``user:password``."""
    for before in range(3):
        # The characters at both ends depend on the neighbouring data.
        first, end = (before * 8 + 5) // 6, (before + len(data)) * 8 // 6
        if end - first <= _SHORTEST_SECRET:
            continue
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data)[first:end].decode()


#: For texts without relation to a job's arguments.
NO_SECRETS = Secrets()
