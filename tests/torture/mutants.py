"""``python -m tests.torture.mutants [words]``: plants bugs; a test must fail for each.

The bugs are those of :mod:`tests.torture.planted`, or those whose names and databases have all of
the *words*. They are planted one at a time, in a copy of the tree, so that nothing changes here.
PostgreSQL and MariaDB are servers of this run; bugs of a database that is not here are left out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.databases import say
from tests.torture.__main__ import running
from tests.torture.planted import BUGS, Bug
from tests.torture.servers import Server

ROOT = Path(__file__).parents[2]
#: A bug may make a test wait for what never comes.
SECONDS = 300.0


def main(words: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bugs = [bug for bug in BUGS if all(word in f"{bug.name} {bug.database}" for word in words)]
    caught, escaped, left_out = 0, [], []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        copy_tree(folder)
        servers: dict[str, Server | None] = {}
        # Bugs of one database follow each other.
        for bug in sorted(bugs, key=lambda each: each.database):
            if bug.database not in servers:
                servers[bug.database] = stack.enter_context(running(bug.database))
            server = servers[bug.database]
            if server is None:
                left_out.append(bug)
                continue
            began = time.monotonic()
            found = failing(bug, folder, server)
            caught += bool(found)
            if not found:
                escaped.append(bug)
            verdict = f"caught by {found}" if found else "NOT CAUGHT"
            say(f"{bug.name}\n  {bug.database}, {time.monotonic() - began:.0f} s: {verdict}")
    say(f"{caught} of {len(bugs)} planted bugs are caught, {len(left_out)} left out")
    for bug in escaped:
        say(f"not caught: {bug.name} ({bug.file})")
    return int(bool(escaped) or not bugs)


def copy_tree(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*", "*.egg-info")
    for name in ("django_jobs", "tests", "testproject", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("manage.py", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)


def planted(bug: Bug, folder: Path) -> dict[Path, str]:
    """Return the files that *bug* changes, and their texts with it."""
    texts: dict[Path, str] = {}
    for file, search, replace in ((bug.file, bug.search, bug.replace), *bug.also):
        path = folder / "django_jobs" / file
        text = texts.get(path) or path.read_text()
        if search not in text:
            raise ValueError(f"{bug.name}: its text is not in {file} any more: {search!r}")
        texts[path] = text.replace(search, replace)
    return texts


def failing(bug: Bug, folder: Path, server: Server) -> str:
    """Plant *bug*, run its tests; return the first one that fails, or ""."""
    texts = planted(bug, folder)
    before = {path: path.read_text() for path in texts}
    for path, text in texts.items():
        path.write_text(text)
    command = [
        sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--create-db",
        "--tb=line", *bug.tests.split(),
    ]  # fmt: skip
    environment = {
        **os.environ, "DATABASE_URL": server.make("mutants"), "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1", "LIFE_UNSHRUNK": "1",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        # A bug that waits for a lock is seen before the test's own end.
        "PGOPTIONS": "-c lock_timeout=20s",
    }  # fmt: skip
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False,
            timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"a test that hangs ({bug.tests})"
    finally:
        for path, text in before.items():
            path.write_text(text)
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(
            f"{bug.name}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}"
        )
    return found[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
