"""A fresh project runs as the Procfile of the page "Deployment" says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from django.core.management import call_command

from tests.pages import ROOT
from tests.ports import free_port
from tests.test_deployment import FILES
from tests.waiting import LONG
from tests.written import written

pytestmark = pytest.mark.once

PROCFILE = dict(line.split(": ", 1) for line in FILES["Procfile"].splitlines())
SETTINGS = """
INSTALLED_APPS += ["django_jobs", "mysite"]
ALLOWED_HOSTS = ["127.0.0.1"]
DJANGO_JOBS = {"HEALTH_URLS": True, "SHUTDOWN_GRACE_SECONDS": 15}
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;",
}
"""
JOBS = """
from pathlib import Path
from django_jobs import job

@job
def note(path: str):
    Path(path).write_text("done")
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("jobs/", include("django_jobs.urls"))]
"""


class Host:
    """Starts the lines of a Procfile in a project, as a hosting service does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": programs,
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
        }
        self.running: list[tuple[subprocess.Popen[bytes], Any]] = []

    def start(self, line: str) -> subprocess.Popen[bytes]:
        output = (self.folder / f"output-{len(self.running)}").open("w+b")
        process = subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.running.append((process, output))
        return process

    def run(self, line: str) -> None:
        process = self.start(line)
        assert process.wait(LONG) == 0, self.output()

    def output(self) -> str:
        return "\n".join(written(file) for _process, file in self.running)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Send TERM to all processes of the dyno."""
        os.killpg(process.pid, signal.SIGTERM)
        return process.wait(LONG)

    def answer(self, path: str) -> int | None:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
                return response.status  # type: ignore[no-any-return]
        except URLError as error:
            return getattr(error, "status", None)

    def clean_up(self) -> None:
        for process, output in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    call_command("startproject", "mysite", str(tmp_path))
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (tmp_path / "mysite/jobs.py").write_text(JOBS)
    (tmp_path / "mysite/urls.py").write_text(URLS)
    host = Host(tmp_path)
    yield host
    host.clean_up()


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")
def test_procfile_migrates_serves_and_runs_jobs(
    host: Host, until: Callable[..., None], tmp_path: Path
) -> None:
    assert re.search(r"manage\.py migrate", PROCFILE["release"])
    host.run(PROCFILE["release"])
    web, worker = host.start(PROCFILE["web"]), host.start(PROCFILE["worker"])
    until(lambda: host.answer("/jobs/health/ready") == 200)
    note = tmp_path / "note"
    host.run(f"python manage.py shell -c 'from mysite.jobs import note; note.delay(\"{note}\")'")
    until(note.exists)
    host.run("python manage.py jobs health")
    assert [host.stop(worker), host.stop(web)] == [0, 0], host.output()
