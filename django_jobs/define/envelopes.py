"""Encrypts values into envelopes, and opens them again.

An envelope is the JSON ``{"__encrypted__": "a token of Fernet"}``. A value that looks like one is
stored as ``{"__encrypted__": [value]}``, so that neither is mistaken for the other.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder

from ..conf import get_settings
from ..exceptions import EncryptionError
from ..serialization import type_of

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

#: The only key of an envelope.
MARK = "__encrypted__"
#: Pages and commands show it in place of an encrypted value.
ENCRYPTED = "[encrypted]"

_SETTING = "DJANGO_JOBS['ENCRYPTION_KEYS']"
#: The command that makes a key.
NEW_KEY = (
    "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)
_INSTALL = (
    "Encryption needs the package cryptography. "
    "Install it: pip install 'django-background-jobs[encryption]'."
)
_KEY_BYTES = 32
# The keys of a progress that the job's code fills with texts and values of its own.
_PROGRESS = ("message", "meta")


def is_envelope(value: object) -> bool:
    """Return whether a JSON *value* of a row is encrypted."""
    return _is_marked(value) and isinstance(value[MARK], str)  # type: ignore[index]


def is_encrypted(text: str) -> bool:
    """Return whether a JSON *text* of a row is that of an envelope."""
    return MARK in text and is_envelope(json.loads(text))


def stored(value: Any, *, encrypt: bool) -> Any:
    """Return how a row has the JSON *value*: in an envelope if *encrypt*.

    Raises ``EncryptionError`` without a usable key.
    """
    if encrypt:
        text = json_of(value)
        return {MARK: _fernet().encrypt(text.encode()).decode()}
    return {MARK: [value]} if _is_marked(value) else value


def opened(value: Any) -> Any:
    """Return the value that :func:`stored` was given. Raises ``EncryptionError``."""
    return _decrypted(value[MARK]) if is_envelope(value) else unmarked(value)


def unmarked(value: Any) -> Any:
    """Return *value*, or the value that only looks like an envelope."""
    if _is_marked(value) and isinstance(value[MARK], list) and len(value[MARK]) == 1:
        return value[MARK][0]
    return value


def shown(value: Any) -> Any:
    """Return *value* as people see it who may not see what is encrypted."""
    return ENCRYPTED if is_envelope(value) else unmarked(value)


def stored_text(text: str, *, encrypt: bool) -> str:
    """Return how a row has a value whose JSON is *text*: see :func:`stored`."""
    if not encrypt and MARK not in text:
        return text
    return json_of(stored(json.loads(text), encrypt=encrypt))


def opened_text(text: str) -> str:
    """Return the JSON text of the value that a row has as *text*. Raises ``EncryptionError``."""
    return json_of(opened(json.loads(text))) if MARK in text else text


def stored_progress(progress: dict[str, Any], *, encrypt: bool) -> dict[str, Any]:
    """Return *progress* with its message and meta encrypted; pages count by its numbers."""
    parts = [name for name in _PROGRESS if progress.get(name)]
    return progress | {name: stored(progress[name], encrypt=encrypt) for name in parts}


def opened_progress(progress: Any, by: Any = opened) -> Any:
    """Return the progress that :func:`stored_progress` was given. Raises ``EncryptionError``."""
    if not isinstance(progress, dict):
        return progress
    return progress | {name: by(progress[name]) for name in _PROGRESS if name in progress}


def opened_call(args: Any, kwargs: Any, by: Any = opened) -> tuple[Any, Any]:
    """Return the arguments of a row with each value opened. Raises ``EncryptionError``."""
    if isinstance(args, (list, tuple)):
        args = [by(value) for value in args]
    if isinstance(kwargs, Mapping):
        kwargs = {name: by(value) for name, value in kwargs.items()}
    return args, kwargs


def renewed(value: Any) -> Any:
    """Return an envelope with the same value under the first key; *value* if it is under it.

    Raises ``EncryptionError`` when no key opens it.
    """
    if not is_envelope(value):
        return value
    fernet = _fernet()
    try:
        _first(fernet).decrypt(value[MARK])
    except _invalid():
        return stored(_decrypted(value[MARK]), encrypt=True)
    return value


def refuse_without_keys() -> None:
    """Raise ``EncryptionError`` when nothing can be encrypted."""
    _fernet()


def key_problems(keys: Sequence[object]) -> list[str]:
    """Return what is wrong with *keys*; a text names the place of a key, not the key."""
    found = []
    for number, key in enumerate(keys):
        if not isinstance(key, str):
            what = f"must be a text, got {type_of(key)}"
        elif _size(key) != _KEY_BYTES:
            what = "is no key of Fernet, which is 32 bytes in URL-safe base64, 44 characters"
        else:
            continue
        found.append(f"{_SETTING}[{number}] {what}. Make one: {NEW_KEY}.")
    return found


def package_problem() -> str:
    """Return why nothing can be encrypted in this environment, or ""."""
    try:
        import cryptography.fernet  # noqa: F401
    except ImportError:
        return _INSTALL
    return ""


def _is_marked(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and MARK in value


def json_of(value: Any) -> str:
    """Return the JSON text of a *value* as rows have it."""
    return json.dumps(
        value, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )


def _size(key: str) -> int:
    try:
        return len(base64.b64decode(key.encode("ascii"), b"-_", validate=True))
    except (ValueError, binascii.Error):
        return -1


def _decrypted(token: str) -> Any:
    fernet = _fernet()
    try:
        text = fernet.decrypt(token)
    except _invalid():
        raise EncryptionError(
            f"No key of {_SETTING} opens an encrypted value. Put the key back with which it was "
            "encrypted; then the job can be retried."
        ) from None
    return json.loads(text)


def _invalid() -> type[Exception]:
    from cryptography.fernet import InvalidToken

    return InvalidToken


def _fernet() -> MultiFernet:
    # The keys are in no local variable of a frame that raises.
    made = _made(tuple(map(str, get_settings().encryption_keys)))
    if isinstance(made, str):
        raise EncryptionError(made)
    return made


@functools.lru_cache(maxsize=8)
def _made(keys: tuple[str, ...]) -> MultiFernet | str:
    """Return the keys as one, which encrypts with the first, or why that is not possible."""
    if not keys:
        return f"{_SETTING} is empty: nothing can be encrypted or opened. Make a key: {NEW_KEY}."
    if problems := [*key_problems(keys), *filter(None, [package_problem()])]:
        return problems[0]
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])


def _first(fernet: MultiFernet) -> Fernet:
    one: Fernet = fernet._fernets[0]
    return one
