"""Which changes of files are seen."""

from __future__ import annotations

import os
import sys
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from django_jobs.worker import file_changes
from django_jobs.worker.file_changes import LOOK_SECONDS, FileChanges
from tests.worker.parts import Clock

pytestmark = pytest.mark.once


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the only app."""
    (tmp_path / "models.py").write_text("first\n")
    (tmp_path / "models.py").touch()
    os.utime(tmp_path / "models.py", (1000, 1000))
    configs = [SimpleNamespace(path=str(tmp_path))]
    monkeypatch.setattr(file_changes, "apps", SimpleNamespace(get_app_configs=lambda: configs))
    return tmp_path


@pytest.fixture
def look(folder: Path) -> Any:
    clock = Clock()
    changes = FileChanges(clock)

    def look() -> str | None:
        clock.advance(LOOK_SECONDS)
        path = changes.changed()
        return path.name if path else None

    return look


def test_nothing_changed(look: Any) -> None:
    assert [look(), look()] == [None, None]


def test_changed_file_is_seen_once(look: Any, folder: Path) -> None:
    os.utime(folder / "models.py", (2000, 2000))
    assert [look(), look()] == ["models.py", None]
    os.utime(folder / "models.py", (1500, 1500))  # as of an older branch
    assert look() == "models.py"


def test_new_file_is_seen_in_any_folder_of_the_app(look: Any, folder: Path) -> None:
    (folder / "jobs").mkdir()
    (folder / "jobs" / "mail.py").touch()
    assert [look(), look()] == ["mail.py", None]


def test_other_files_are_not_code(look: Any, folder: Path) -> None:
    (folder / "db.sqlite3").touch()
    assert look() is None


def test_module_that_was_only_imported_has_not_changed(
    look: Any, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "late.py"
    path.touch()
    os.utime(path, (1000, 1000))
    module = ModuleType("late")
    module.__spec__ = spec_from_file_location("late", path)
    monkeypatch.setitem(sys.modules, "late", module)
    assert look() is None
    os.utime(path)
    assert look() == "late.py"


def test_looks_are_rare(folder: Path) -> None:
    clock = Clock()
    changes = FileChanges(clock)
    os.utime(folder / "models.py")
    assert changes.changed() is None
    clock.advance(LOOK_SECONDS)
    assert changes.changed() is not None


def test_installed_apps_are_watched_only_where_they_are_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(folder.parent))
    clock = Clock()
    changes = FileChanges(clock)
    (folder / "new.py").touch()
    clock.advance(LOOK_SECONDS)
    assert changes.changed() is None
