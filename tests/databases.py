"""Runs the whole suite on each database, side by side, and says what was tested.

``python -m tests.databases [pytest's arguments]`` takes SQLite, a PostgreSQL that comes in a wheel
and lives for this run only (or the server of ``POSTGRESQL_URL``), and the server of ``MYSQL_URL``
if that is set. ``DATABASES=sqlite,mysql`` names some of them. The tests make and drop a database on
each server, ``test_`` and the URL's own name. Without arguments, tests marked ``once`` run with
the first database only. A failed test is named as soon as it fails. pytest's own output is shown as
a whole when a suite ends, or as it comes when there is only one suite.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.postgresql import CannotStart, embedded_postgresql
from tests.suite import PASSED, Suite

KINDS = ("sqlite", "postgresql", "mysql")
INTERRUPTED = 130
TICK_SECONDS = 0.2
#: Between two lines of progress where no terminal can overwrite the last one.
LINE_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    # SIGINT too: a shell starts what runs in the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    wanted = [kind for kind in os.environ.get("DATABASES", ",".join(KINDS)).split(",") if kind]
    unknown = set(wanted) - set(KINDS)
    if unknown or not wanted:
        say(f"DATABASES names {', '.join(unknown) or 'nothing'}; allowed: {', '.join(KINDS)}")
        return 2
    try:
        return run(wanted, arguments)
    except CannotStart as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted: all suites and servers were stopped.")
        return INTERRUPTED


def run(wanted: Sequence[str], arguments: list[str]) -> int:
    """Run a suite for each database that is *wanted* and here; report; return the exit code."""
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(server(kind, fsync="off")) for kind in wanted}
        suites: list[Suite] = []
        for kind, url in urls.items():
            if url is not None:
                again = bool(suites) and not arguments
                suites.append(Suite(kind, url, ["-m", "not once"] if again else arguments))
        stack.callback(stop, suites)
        for suite in suites:
            suite.start(alone=len(suites) == 1)
        watch(suites)
    report = [suite.verdict() for suite in suites]
    if len(suites) > 1 and not arguments:
        report.append(f"what needs no database: ran once, with {suites[0].kind}")
    if "mysql" in urls and urls["mysql"] is None:
        report.append("MariaDB, MySQL: left out, set MYSQL_URL to test one")
    report += [
        f"{kind}: left out, DATABASES does not name it" for kind in KINDS if kind not in wanted
    ]
    say("\n".join(["=== what was tested ===", versions(), *report, *left_out(suites)]))
    return int(not suites or any(suite.code != PASSED for suite in suites))


def watch(suites: Sequence[Suite]) -> None:
    """Show how the suites go until all have ended."""
    screen = Screen(silent=len(suites) == 1)
    running = list(suites)
    with selectors.DefaultSelector() as selector:
        for suite in running:
            selector.register(suite.pipe, selectors.EVENT_READ, suite)
        while running:
            selector.select(TICK_SECONDS)
            for suite in list(running):
                # Asked first: what pytest told before its end is then there to be read.
                ended = suite.has_ended()
                for failure in suite.news():
                    screen.line(f"{suite.kind}: FAILED {failure.test} - {failure.why}")
                if ended:
                    running.remove(suite)
                    selector.unregister(suite.pipe)
                    if output := suite.output():
                        screen.line(f"\n=== {suite.kind} ===\n{output}")
            screen.progress("   ".join(suite.progress() for suite in running))


class Screen:
    """One line of progress, which a terminal overwrites, below the lines that stay."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._is_terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._next = 0.0

    def line(self, text: str) -> None:
        # A suite that runs alone has written a part of a line: pytest's dots.
        before = "\n" if self._silent else "\r\x1b[K" if self._is_terminal else ""
        write(f"{before}{text}\n")

    def progress(self, text: str) -> None:
        now = time.monotonic()
        if self._silent or not text or now < self._next:
            return
        self._next = now + (TICK_SECONDS if self._is_terminal else LINE_SECONDS)
        text = f"{now - self._began:4.0f} s   {text}"
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            write(f"\r\x1b[K{text[:width]}")
        else:
            write(f"{text}\n")


def stop(suites: Sequence[Suite]) -> None:
    for suite in suites:
        suite.interrupt()
    with contextlib.ExitStack() as stack:
        for suite in suites:
            stack.callback(suite.stop)


def left_out(suites: Sequence[Suite]) -> list[str]:
    """Tell the tests that no suite could run, and why."""
    ran = set().union(*(suite.ran for suite in suites))
    skipped = {test: why for suite in suites for test, why in suite.skipped.items()}
    reasons = Counter(why for test, why in skipped.items() if test not in ran)
    return [
        f"{count} test{'s' * (count > 1)} left out: {why}" for why, count in reasons.most_common()
    ]


@contextlib.contextmanager
def server(kind: str, **settings: str) -> Iterator[str | None]:
    """Yield the URL of a database of that *kind*, or None when there is no server.

    A PostgreSQL that is started here has these *settings*.
    """
    if kind == "mysql":
        yield os.environ.get("MYSQL_URL") or None
    elif kind == "postgresql" and not os.environ.get("POSTGRESQL_URL"):
        with embedded_postgresql(**settings) as url:
            yield url
    elif kind == "postgresql":
        yield os.environ["POSTGRESQL_URL"]
    else:
        with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
            yield f"sqlite:///{folder}/db.sqlite3"


def versions() -> str:
    import django

    return f"Python {sys.version.split()[0]}, Django {django.get_version()}"


def say(text: str) -> None:
    write(f"\n{text}\n")


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
