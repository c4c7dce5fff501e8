"""A stored traceback, split into the project's frames and the libraries' frames, to fold these."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

_FRAME = re.compile(r'  File "(?P<path>[^"]+)", line \d+')
_LIBRARIES = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3)|^<")


@dataclasses.dataclass(slots=True)
class Part:
    """Consecutive lines of libraries, or of the project; *frames* is the number of frames."""

    is_library: bool
    frames: int = 0
    lines: list[str] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def parts(traceback: str) -> list[Part]:
    """Return the parts in order; joined with line breaks, they are the traceback."""
    return list(_parts(traceback)) if traceback else []


def _parts(traceback: str) -> Iterator[Part]:
    part = Part(is_library=False)
    for line in traceback.rstrip("\n").split("\n"):
        frame = _FRAME.match(line)
        if frame:
            is_library = _LIBRARIES.search(frame["path"]) is not None
        else:
            # The lines of a frame are indented; the error and the headings are not.
            is_library = part.is_library and line.startswith("    ")
        if is_library != part.is_library:
            if part.lines:
                yield part
            part = Part(is_library)
        part.frames += frame is not None
        part.lines.append(line)
    yield part
