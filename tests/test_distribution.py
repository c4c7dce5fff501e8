"""Every text that says what to install names this distribution, and extras that it has."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
NAME = SETUP["metadata"]["name"]
EXTRAS = set(SETUP["options.extras_require"])
# With an extra or behind "pip install" it is a distribution; a path or "." is a checkout.
WANTED = re.compile(r"([A-Za-z][\w.-]*)\[([\w, ]+)\]|pip install ['\"]?(django[\w-]*jobs[\w-]*)")


def texts() -> Iterator[tuple[str, str]]:
    """Return the distribution and the extras that each text of the project asks for."""
    kinds = {".py", ".rst", ".md", ".cfg", ".toml", ".yml", ".html", ".po"}
    paths = [path for path in ROOT.rglob("*") if path.suffix in kinds or path.name == "Makefile"]
    for path in paths:
        if any(part.startswith((".venv", ".git", "_build", "build")) for part in path.parts):
            continue
        for found in WANTED.finditer(path.read_text(errors="replace")):
            name, extras = found[1] or found[3], found[2] or ""
            if re.fullmatch(r"django[-_][\w-]*jobs", name, re.IGNORECASE):
                yield name, extras


def test_texts_install_this_distribution_with_extras_that_it_has() -> None:
    found = set(texts())
    assert any(extras for _name, extras in found)
    assert {name for name, _extras in found} == {NAME}
    asked = {extra.strip() for _name, extras in found for extra in extras.split(",")} - {"", "*"}
    assert asked <= EXTRAS
