"""A gevent pool starts its program over, with the same command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_jobs.worker import patched_start

pytestmark = pytest.mark.once

PYTHON, START = sys.executable, patched_start.__file__


@pytest.mark.parametrize(
    ("given", "argv", "command"),
    [
        (["manage.py", "runworker", "-c", "5"], ["manage.py", "runworker", "-c", "5"],
         [PYTHON, START, "manage.py", "runworker", "-c", "5"]),
        (["-X", "dev", "-u", "manage.py", "x"], ["manage.py", "x"],
         [PYTHON, "-X", "dev", "-u", START, "manage.py", "x"]),
        (["-Wd", "-m", "django", "x"], ["/lib/django/__main__.py", "x"],
         [PYTHON, "-Wd", START, "-m", "django", "x"]),
        (["/bin/django-admin", "x"], ["/bin/django-admin", "x"],
         [PYTHON, START, "/bin/django-admin", "x"]),
        (["-c", "main()", "x"], ["-c", "x"], None),
        (["pytest", "tests"], ["manage.py", "x"], None),
        ([], [], None),
    ],
)  # fmt: skip
def test_command_line(monkeypatch: Any, given: list[str], argv: list[str], command: Any) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python3", *given])
    monkeypatch.setattr(sys, "argv", argv)
    assert patched_start.command() == command


@pytest.mark.parametrize("how", ["script", "module"])
def test_program_sees_what_python_would_show_it(tmp_path: Path, how: str) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "beside.py").write_text("value = 7")
    (folder / "program.py").write_text(
        "import sys, json, beside, time\n"
        "print(json.dumps([__name__, sys.argv[1:], sys.path[0], time.sleep.__module__]))"
    )
    program = [str(folder / "program.py")] if how == "script" else ["-m", "program"]
    seen = subprocess.run(
        [PYTHON, START, *program, "a", "b"],
        cwd=tmp_path if how == "script" else folder,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert json.loads(seen) == ["__main__", ["a", "b"], str(folder), "gevent.hub"]
