"""The programs of the page "Enqueue from Flask, FastAPI and scripts" run without a project."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.new_project import NewProject
from tests.pages import DOCS, ROOT, blocks

pytestmark = pytest.mark.once

FILES = {
    block.text.partition("\n")[0].removeprefix("# "): block.text
    for block in blocks(DOCS / "outside_django.rst")
    if block.kind == "python"
}
ROWS = "SELECT name, queue, status, args, result FROM django_jobs_job ORDER BY id"
PROGRAMS = {
    "robot/__init__.py": "",
    "call.py": """
from client.jobs import charge

print(charge.delay(7).status)
""",
    "call_flask.py": """
from flask_app import app

answer = app.test_client().post("/orders/8/charge")
print(answer.status_code, len(answer.json["job"]))
""",
    "call_fastapi.py": """
import asyncio
import json

from fastapi_app import app


async def call(method, path):
    received = [{"type": "http.request"}]
    sent = []

    async def receive():
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def main():
    status, answer = await call("POST", "/orders/9/charge")
    print(status, await call("GET", "/jobs/" + answer["job"]))


asyncio.run(main())
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[NewProject]:
    """The files of the page, with an SQLite of their own."""
    for name, text in {**FILES, **PROGRAMS}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(".postgresql", ".sqlite3").replace('"robot"}', '"jobs.db"}'))
    environment = {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    environment |= {"DJANGO_SETTINGS_MODULE": "settings", "DB_NAME": "jobs.db"}
    with contextlib.closing(NewProject(tmp_path, environment)) as project:
        yield project


def test_programs_without_a_project_enqueue_and_run_jobs(project: NewProject) -> None:
    assert project.run(["django-admin", "migrate"])[0] == 0
    assert project.run(["script.py"]) == (0, "PENDING\n")
    assert project.run(["call.py"]) == (0, "PENDING\n")
    assert project.run(["call_flask.py"]) == (0, "202 36\n")
    assert project.run(["call_fastapi.py"]) == (0, "202 (200, {'status': 'PENDING'})\n")
    worker = ["django-admin", "runworker", "--pool", "solo", "--burst", "--queues", "default"]
    assert project.run(worker)[0] == 0
    with contextlib.closing(sqlite3.connect(project.folder / "jobs.db")) as database:
        assert database.execute(ROWS).fetchall() == [
            ("robot.jobs.greet", "default", "SUCCESS", '["Ann"]', '"hello Ann"'),
            *(("shop.jobs.charge", "shop", "PENDING", f"[{n}]", None) for n in (7, 8, 9)),
        ]
