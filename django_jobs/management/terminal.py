"""One terminal for several processes: each line begins with the name of its process."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Sequence

from django.utils.termcolors import colorize

from .width import padded, width

_COLOURS = ("green", "cyan", "magenta", "yellow", "blue")
_CHUNK = 65_536


class Terminal:
    """Writes lines of the processes *names* by *write*; a line of one is never cut by another's."""

    def __init__(
        self, names: Sequence[str], write: Callable[[str], object], *, in_colour: bool
    ) -> None:
        room = max(map(width, names))
        self._prefixes = {name: f"{padded(name, room)} | " for name in names}
        if in_colour:
            colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}
            self._prefixes = {
                name: colorize(prefix, fg=colours[name]) for name, prefix in self._prefixes.items()
            }
        self._write = write
        # The name of the process whose line is not complete.
        self._open: str | None = None

    def show(self, name: str, text: str) -> None:
        """Write *text*, which may be a part of a line, such as a prompt."""
        for line in re.findall("[^\n]*\n|[^\n]+", text):
            if self._open != name:
                if self._open is not None:
                    self._write("\n")
                self._write(self._prefixes[name])
            self._write(line)
            self._open = None if line.endswith("\n") else name


class Output:
    """The readable end *descriptor* of a pipe, whose text goes to *terminal* under *name*."""

    def __init__(self, name: str, descriptor: int, terminal: Terminal) -> None:
        self.name = name
        self.descriptor = descriptor
        self.is_closed = False
        self._terminal = terminal
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""
        os.set_blocking(descriptor, False)

    def forward(self) -> None:
        """Show the lines that came; show a part of a line if nothing comes after it."""
        came = False
        while (data := self._read()) is not None:
            came = True
            lines, newline, self._rest = (self._rest + self._decode(data)).rpartition("\n")
            if newline:
                self._terminal.show(self.name, lines + newline)
        if self._rest and not came:
            self._terminal.show(self.name, self._rest)
            self._rest = ""

    def close(self) -> None:
        """Show what is there, and close the pipe."""
        self.forward()
        self.forward()
        self._close()

    def _read(self) -> bytes | None:
        if self.is_closed:
            return None
        try:
            data = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return None
        if not data:
            self._close()
        return data or None

    def _close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            os.close(self.descriptor)
