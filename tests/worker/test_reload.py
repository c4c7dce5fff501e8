"""A reload is wanted only after the new code could start."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs.worker import reload as module
from django_jobs.worker.reload import Reload

pytestmark = pytest.mark.once


class Check:
    """Stands for the process that checks the new code."""

    pid = 4_000_000

    def __init__(self, verdicts: list[str | None]) -> None:
        self.verdicts = verdicts
        self.ended = False

    def verdict(self) -> str | None:
        return self.verdicts.pop(0)

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the next checks say this."""

    def start(*verdicts: str | None) -> Check:
        check = Check(list(verdicts))
        monkeypatch.setattr(module, "ReloadCheck", lambda: check)
        return check

    return start


def test_code_that_starts_is_reloaded(start: Any) -> None:
    check, reload = start(None, ""), Reload(is_program=True)
    reload.begin()
    assert reload.pids == [check.pid]
    assert not reload.poll()
    assert not reload.is_wanted
    assert reload.poll()
    assert reload.is_wanted
    assert check.ended
    assert reload.pids == []
    assert not reload.poll()


def test_code_that_does_not_start_is_not_reloaded(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    start("exit 1\nImportError: no module")
    reload = Reload(is_program=True)
    reload.begin()
    assert not reload.poll()
    assert not reload.is_wanted
    assert "ImportError: no module" in caplog.text


def test_second_hangup_checks_anew(start: Any) -> None:
    first, reload = start(""), Reload(is_program=True)
    reload.begin()
    second = start(None)
    reload.begin()
    assert first.ended
    assert not reload.poll()
    assert reload.pids == [second.pid]


def test_check_that_cannot_start_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no memory")

    monkeypatch.setattr(module, "ReloadCheck", fail)
    reload = Reload(is_program=True)
    reload.begin()
    assert (reload.pids, reload.is_wanted) == ([], False)
    assert "no memory" in caplog.text


def test_another_program_is_reloaded_without_a_check() -> None:
    reload = Reload(is_program=False)
    reload.begin()
    assert (reload.pids, reload.is_wanted) == ([], True)
