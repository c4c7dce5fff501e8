"""Parses rate limits: ``"10/m"``, a number, or several of them."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPELLING = re.compile(r"(\d+(?:\.\d+)?)(?:/([smhd]))?")
#: The longest window, in seconds.
LONGEST_SECONDS = 86_400.0
#: Most starts in one window, all of which are read to find the next free time.
MOST = 10_000

#: A text, a number of starts a second, or a list of these, which all apply.
Rate = str | float | Sequence[str | float]


class Window(NamedTuple):
    """At most *starts* in any interval of *seconds*."""

    starts: int
    seconds: float


def parse(rate: Rate | None) -> tuple[Window, ...]:
    """Return the windows of *rate*; None and an empty text are no limit and have none.

    A text may have several rates, separated by commas. A fraction is one start in a longer window:
    ``"0.5/m"`` is one in two minutes. Raises ``ValueError`` for an invalid rate.
    """
    if rate is None or rate == "":
        return ()
    if isinstance(rate, str):
        return _parse_text(rate)
    if isinstance(rate, (int, float)) and not isinstance(rate, bool):
        return (_window(str(rate), rate),)
    if isinstance(rate, Sequence) and rate:
        return tuple(window for part in rate for window in _parse_part(part, rate))
    raise _wrong(rate)


def text_of(windows: Sequence[Window]) -> str:
    """Return *windows* as people write a rate: ``6/m``, or ``1/120 s`` for another length."""
    names = {seconds: unit for unit, seconds in _SECONDS.items()}
    return ", ".join(
        f"{each.starts}/{names.get(each.seconds) or f'{each.seconds:g} s'}" for each in windows
    )


def _parse_part(part: object, rate: object) -> tuple[Window, ...]:
    if isinstance(part, (str, int, float)) and part != "":
        return parse(part)
    raise _wrong(rate)


@functools.lru_cache(maxsize=1024)
def _parse_text(text: str) -> tuple[Window, ...]:
    return tuple(_window(part.strip(), text) for part in text.split(","))


def _window(text: str, rate: object) -> Window:
    match = _SPELLING.fullmatch(text)
    number = float(match[1]) if match else 0.0
    if match is None or number <= 0 or not math.isfinite(number):
        raise _wrong(rate)
    seconds = _SECONDS[match[2] or "s"]
    if number < 1 and seconds / number <= LONGEST_SECONDS:
        return Window(1, seconds / number)
    if number < 1:
        raise ValueError(f"rate_limit may have windows of a day at most, got {rate!r}.")
    if number > MOST:
        raise ValueError(
            f"rate_limit may have at most {MOST} starts in one window, got {rate!r}. "
            "Write it for a shorter window."
        )
    if number != int(number):
        # A window has whole starts: 2.5 a second are 2 in 0.8 seconds.
        return Window(math.floor(number), seconds * math.floor(number) / number)
    return Window(int(number), seconds)


def _wrong(rate: object) -> ValueError:
    return ValueError(
        "rate_limit must be 'N/s', 'N/m', 'N/h' or 'N/d' with N above 0, a number of starts a "
        f"second, or a list of these, got {rate!r}"
    )
