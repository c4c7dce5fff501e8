"""The heartbeat file: what it may be, and when it is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from django_jobs.process.heartbeat_file import TOUCH_SECONDS, HeartbeatFile
from tests.worker.parts import Clock

pytestmark = pytest.mark.once


def is_touched(path: Path) -> bool:
    return path.stat().st_mtime > 0


def make_old(path: Path) -> None:
    os.utime(path, (0, 0))


def test_new_file_is_no_sign_of_life_until_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    file = HeartbeatFile(str(path))
    file.create()
    assert not is_touched(path)
    file.touch()
    assert is_touched(path)
    assert path.read_bytes() == b""
    file.remove()
    assert not path.exists()
    file.remove()


def test_file_that_a_killed_process_left_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    path.touch()
    os.utime(path, (1000, 1000))
    HeartbeatFile(str(path)).create()
    assert path.stat().st_mtime == 1000


def test_file_is_touched_every_few_seconds_only(tmp_path: Path) -> None:
    path, clock = tmp_path / "alive", Clock()
    file = HeartbeatFile(str(path), clock)
    file.create()
    file.touch()
    make_old(path)
    clock.advance(TOUCH_SECONDS - 0.1)
    file.touch()
    assert not is_touched(path)
    clock.advance(0.2)
    file.touch()
    assert is_touched(path)


def test_file_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    file = HeartbeatFile(str(path))
    file.create()
    path.unlink()
    file.touch()
    assert is_touched(path)


def test_error_of_a_touch_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, clock = tmp_path / "run", Clock()
    folder.mkdir()
    file = HeartbeatFile(str(folder / "alive"), clock)
    file.create()
    (folder / "alive").unlink()
    folder.rmdir()
    for _ in range(3):
        clock.advance(10)
        file.touch()
    assert caplog.text.count("cannot touch the heartbeat file") == 1
    folder.mkdir()
    clock.advance(10)
    file.touch()
    assert is_touched(folder / "alive")


def test_file_with_another_use_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("notes", "link", "folder", "fifo"):
        with pytest.raises(ValueError, match="another use"):
            HeartbeatFile(str(tmp_path / name)).create()
    assert (tmp_path / "notes").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written: No such file"):
        HeartbeatFile(str(tmp_path / "no" / "alive")).create()
