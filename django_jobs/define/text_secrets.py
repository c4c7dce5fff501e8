"""Secrets within texts: passwords in URLs, and values behind a sensitive name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..redaction import is_sensitive

_CREDENTIALS = re.compile(r"(//[^/\s:@]*:)([^/\s@]+)(?=@)")
# A name within a text, up to its value, and the value: ``token=…``, ``Authorization: …``, and
# objects whose JSON or repr is a part of the text, also escaped.
_NAMED = re.compile(r"""(?<![\w.-])([\w.-]{1,100})\\{0,32}['"]?\s{0,3}[=:]\s{0,3}\\{0,32}""")
_VALUE = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|"[^"]*"|'[^']*'|['"]?[^&;,'"\n]+""", re.DOTALL
)


def blanked_text(text: str, sensitive: Sequence[str], blank: Callable[[str], str]) -> str:
    """Return *text* with ``blank(secret)`` in the place of each secret.

    *sensitive* adds to the sensitive names. *blank* may get parts of a secret, too.
    """
    if "//" in text:
        text = _CREDENTIALS.sub(lambda found: found[1] + blank(found[2]), text)
    if "=" not in text and ":" not in text:
        return text
    parts: list[str] = []
    done = at = 0
    while (name := _NAMED.search(text, at)) is not None:
        at = name.end()
        if is_sensitive(name[1], sensitive) and (value := _VALUE.match(text, at)):
            blank(value[0].strip("'\"\\ "))
            parts += [text[done:at], blank(value[0])]
            done = at = value.end()
    return "".join([*parts, text[done:]])
