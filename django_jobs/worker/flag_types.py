"""Values of the command line: each parser returns the value or says what it must be."""

from __future__ import annotations

import argparse
from typing import Any

from ..control.command_table import IDLE_SECONDS
from ..control.commands import check
from ..moments import range_problems

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}.")
    return number


def seconds(text: str) -> float:
    """Return a number of seconds from 0 to a century."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, got {text!r}.") from None
    for problem in range_problems("it", number, 0):
        raise argparse.ArgumentTypeError(problem)
    return number


def bounds(text: str) -> dict[str, Any]:
    """Return the arguments of the command ``autoscale`` from ``MAX,MIN`` or ``MAX,MIN,SECONDS``."""
    parts = text.split(",")
    try:
        most, least, *idle = int(parts[0]), int(parts[1]), *map(float, parts[2:])
        (idle_seconds,) = idle or [IDLE_SECONDS]
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(
            f"must be MAX,MIN or MAX,MIN,SECONDS, got {text!r}."
        ) from None
    try:
        return check("autoscale", {"most": most, "least": least, "idle_seconds": idle_seconds})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def bounds_or_off(text: str) -> dict[str, Any]:
    return check("autoscale", {"most": None, "least": None}) if text == "off" else bounds(text)
