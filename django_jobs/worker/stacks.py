"""The stack of a running job: files, lines and functions, and no values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

#: The most frames of an answer, the innermost ones.
MOST_FRAMES = 60
_PACKAGE = str(Path(__file__).parent.parent) + "/"


def of_thread(ident: int | None) -> list[FrameType]:
    """Return the frames of a thread of this process, the outermost first."""
    return _outwards(sys._current_frames().get(ident or 0))


def of_coroutine(coroutine: Any) -> list[FrameType]:
    """Return the frames of a coroutine that waits, and of those that it awaits."""
    frames = []
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                frames.append(frame)
        awaited = (getattr(coroutine, f"{kind}_await", None) for kind in ("cr", "ag"))
        coroutine = next((each for each in awaited if each is not None), None) or getattr(
            coroutine, "gi_yieldfrom", None
        )
    return frames


def lines(frames: list[FrameType]) -> list[list[Any]]:
    """Return file, line and function of each frame of the body, the innermost last."""
    inside = frames[_first_of_body(frames) :]
    return [
        [frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name]
        for frame in inside[-MOST_FRAMES:]
    ]


def _first_of_body(frames: list[FrameType]) -> int:
    """Return where the body begins: behind the frames of this package that call it."""
    ours = [frame.f_code.co_filename.startswith(_PACKAGE) for frame in frames]
    if True not in ours:
        return 0
    first = ours.index(True)
    behind = next((at for at in range(first, len(ours)) if not ours[at]), None)
    # Between two frames of this package are those of contextvars and of asyncio.
    while behind is not None and any(ours[behind : behind + 3]):
        last = max(at for at in range(behind, min(behind + 3, len(ours))) if ours[at])
        behind = next((at for at in range(last, len(ours)) if not ours[at]), None)
    return first if behind is None else behind


def _outwards(frame: FrameType | None) -> list[FrameType]:
    return list(reversed(list(_back(frame))))


def _back(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
