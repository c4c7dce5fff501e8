"""The files of a project: its own source, without libraries and environments."""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from django.conf import settings

from .finding import REMOVE, Finding, Section
from .others import is_text
from .symbols import Module, Symbols

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
# A file of more bytes is data.
_LONGEST_FILE = 2_000_000
_OURS = Path(__file__).resolve().parents[3]


#: Is called with a number of files that were read or looked through.
Note = Callable[[int], object]


def nothing(number: int) -> None:
    pass


class Project:
    """The files below some folders that may have to do with Celery.

    *note* gets 1 after each file that was read.
    """

    def __init__(self, folders: Iterable[Path], note: Note = nothing) -> None:
        #: Each file that is read, and its name in findings.
        self.files: list[tuple[Path, str]] = []
        #: Files that cannot be read or do not parse.
        self.broken: list[Finding] = []
        modules: list[Module] = []
        folders = list(folders)
        for folder in folders:
            for path in _files(folder):
                name = path.relative_to(folder).as_posix()
                shown = name if len(folders) == 1 else str(path)
                is_python = path.suffix == ".py"
                if not (is_python or is_text(name)) or not self._is_read(path, shown):
                    continue
                self.files.append((path, shown))
                if is_python and (tree := self._parsed(path, shown)):
                    modules.append(Module(shown, name, tree))
                note(1)
        self.symbols = Symbols(modules)

    def _is_read(self, path: Path, shown: str) -> bool:
        """Return whether a file can be read; large ones and others than files are left out."""
        try:
            if not path.is_file() or path.stat().st_size > _LONGEST_FILE:
                return False
            with path.open("rb"):
                return True
        except OSError as error:
            self._note(shown, 0, f"The file cannot be read ({type(error).__name__})")
            return False

    def _parsed(self, path: Path, shown: str) -> ast.Module | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of invalid escapes in the project's texts
                return ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 0
            self._note(shown, line, f"The file does not parse ({type(error).__name__})")
            return None

    def _note(self, shown: str, line: int, what: str) -> None:
        text = "Repair it, and run this command again: it may use Celery."
        self.broken.append(Finding(shown, line, what, text, REMOVE, Section.STEPS))


def own_folders() -> list[Path]:
    """Return ``BASE_DIR``, or the folder of the settings' package in a project without it."""
    base = getattr(settings, "BASE_DIR", None)
    if base is not None:
        return [Path(str(base)).resolve()]
    package = settings.SETTINGS_MODULE.partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None)
    return [Path(file).resolve().parent] if file else [Path.cwd()]


def _files(folder: Path) -> Iterator[Path]:
    library = {Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "purelib")}
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not (here / name / "pyvenv.cfg").exists()
            and (here / name).resolve() not in {_OURS, *library}
        )
        yield from (here / name for name in sorted(files))
