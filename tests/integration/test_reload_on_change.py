"""``runworker --reload``: a change of a file is a HUP, so running jobs end first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jobs.models import Job, Worker
from tests.integration import jobs
from tests.waiting import LONG

pytestmark = pytest.mark.once


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an app of its own, ``store``, beside those of the tests."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "__init__.py").touch()
    (tmp_path / "store" / "jobs.py").write_text(code_that_returns("old"))
    (tmp_path / "store_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'store']\n"
    )
    return tmp_path


def code_that_returns(text: str) -> str:
    """Return the code of a module. Another *text* needs another length.

    Python takes the compiled code of a file for current that had the same size in the same second.
    """
    return (
        f"from django_jobs import job\n@job(name='store.version')\ndef version(): return {text!r}\n"
    )


@pytest.fixture
def worker(runworker: Callable[..., Any], project: Path) -> Any:
    return runworker(
        "-c",
        "1",
        "--beat",
        "--reload",
        "--settings",
        "store_settings",
        "--pythonpath",
        str(project),
    )


def version() -> Any:
    """Return what the worker's code of ``store.version`` returns."""
    from django_jobs.api.result import AsyncResult

    row = jobs.hold.apply_async(("unused",), countdown=3600)
    Job.objects.filter(pk=row.id).update(name="store.version", args=[], status="PENDING")
    return AsyncResult(row.id).get(timeout=LONG)


def test_changed_code_is_loaded_and_broken_code_is_not(
    worker: Any, project: Path, until: Any
) -> None:
    assert version() == "old"
    code = project / "store" / "jobs.py"
    code.write_text("def broken(:\n")
    until(lambda: "not reloading" in worker.output() and "SyntaxError" in worker.output())
    assert version() == "old"
    code.write_text(code_that_returns("newer"))
    until(lambda: "starting over" in worker.output())
    assert version() == "newer"
    assert Worker.objects.live().filter(pool=Worker.BEAT).count() == 1
    assert worker.stop() == 0
    assert worker.output().count("starting over") == 1


def test_running_job_ends_before_the_reload(
    worker: Any, project: Path, until: Any, folder: str
) -> None:
    running = jobs.hold.delay(folder)
    until(lambda: running.status == "STARTED")
    (project / "store" / "jobs.py").write_text(code_that_returns("newer"))
    until(lambda: "stopping: finishing what runs" in worker.output())
    assert running.status == "STARTED"
    Path(folder, "go").touch()
    assert running.get(timeout=LONG)
    # The old worker may claim until the stop has reached it.
    until(lambda: "starting over" in worker.output())
    assert version() == "newer"
    job = Job.objects.get(pk=running.id)
    assert (job.retries, job.crashes) == (0, 0)
    assert worker.stop() == 0


def test_code_that_breaks_while_a_job_ends_is_not_loaded(
    worker: Any, project: Path, until: Any, folder: str
) -> None:
    running = jobs.hold.delay(folder)
    until(lambda: running.status == "STARTED")
    code = project / "store" / "jobs.py"
    code.write_text(code_that_returns("newer"))
    until(lambda: "stopping: finishing what runs" in worker.output())
    code.write_text("def broken(:\n")
    until(lambda: worker.output().count("changed: ") == 2)
    Path(folder, "go").touch()
    until(lambda: "not reloading" in worker.output())
    assert version() == "old"
    code.write_text(code_that_returns("newer"))
    until(lambda: "starting over" in worker.output())
    assert version() == "newer"
    assert worker.stop() == 0


def test_new_module_of_an_app_is_loaded(worker: Any, project: Path, until: Any) -> None:
    (project / "store" / "jobs.py").rename(project / "store" / "aside.txt")
    (project / "store" / "tasks.py").write_text(code_that_returns("of the new module"))
    until(lambda: "starting over" in worker.output())
    assert version() == "of the new module"
    assert worker.stop() == 0


@pytest.mark.django_db
def test_solo_pool_refuses_it() -> None:
    with pytest.raises(CommandError, match="--reload needs a supervisor"):
        call_command("runworker", "--pool", "solo", "--reload", "--queues", "default")
