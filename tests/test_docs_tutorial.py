"""The tutorial works: its files and commands make a site, from an empty folder to its deploy."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import django
import pytest

from tests.new_project import NewProject
from tests.pages import DOCS, ROOT, Block, blocks

pytestmark = pytest.mark.once

PAGE = DOCS / "tutorial.rst"
FILE = re.compile(r"(?:# |\{# )(?P<path>[\w/]+\.\w+)(?P<at_the_end>, at the end)?(?: #\})?\n")
#: What the environment of the tests has already, and what tests of its own run.
NOT_RUN = ("python -m venv venv", ". venv/bin/activate", "pip install django-background-jobs",
           "python manage.py rundev")  # fmt: skip
COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
OPEN = "SELECT count(*) FROM django_jobs_job WHERE status NOT IN ('SUCCESS', 'FAILURE', 'REVOKED')"
LIVE = "SELECT count(*) FROM django_jobs_worker WHERE stopped_at IS NULL"
SOLO = ["manage.py", "runworker", "--pool", "solo"]


class Reader:
    """Does what the page says, in an empty folder."""

    def __init__(self, project: NewProject, until: Callable[..., None]) -> None:
        self.project, self.until = project, until
        self.worker: int | None = None
        self.is_changed = False

    def follow(self, block: Block) -> None:
        if "EMAIL_BACKEND" in block.text and django.VERSION >= (6, 1):
            return
        if FILE.match(block.text):
            self.write(block)
            self.is_changed = True
            return
        if self.is_changed:
            self.project.renew()
            self.is_changed = False
        if block.kind == "console":
            self.run_commands(block)
        elif block.kind == "pycon":
            code, output = self.project.run(["examples", block.text])
            assert not code, f"line {block.line}: {output}"
        elif block.kind == "worker":
            self.project.end(self.project.start([*SOLO, "--burst"], "worker.log"))
        elif block.kind == "beat":
            assert self.project.run(["manage.py", "runbeat", "--once"])[0] == 0
        elif block.kind == "until":
            self.run_until_all_have_ended()
        else:
            raise AssertionError(f"line {block.line} is no file and no command")

    def run_until_all_have_ended(self) -> None:
        worker = self.worker or self.project.start(SOLO, "worker.log")
        self.until(lambda: self.count(OPEN) == 0)
        if not self.worker:
            assert self.project.end(worker, signal.SIGTERM) == 0

    def count(self, query: str) -> int:
        path = self.project.folder / "db.sqlite3"
        with contextlib.closing(sqlite3.connect(path)) as database:
            return int(database.execute(query).fetchone()[0])

    def write(self, block: Block) -> None:
        name = FILE.match(block.text)
        assert name, f"line {block.line}"
        path = self.project.folder / name["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if name["at_the_end"] else ""
        assert bool(before) == bool(name["at_the_end"]), f"line {block.line}"
        path.write_text(before + "\n\n" * bool(before) + block.text)

    def run_commands(self, block: Block) -> None:
        for command, wanted in COMMAND.findall(block.text):
            if command not in NOT_RUN:
                output = self.run_command(command)
                checker = doctest.OutputChecker()
                options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
                same = checker.check_output(wanted, output, options)
                assert same, f"line {block.line}: {command}\n{output}"

    def run_command(self, command: str) -> str:
        words = shlex.split(command)
        environment = {}
        while "=" in words[0]:
            name, _, environment[name] = words.pop(0).partition("=")
        if words[0] in ("touch", "rm"):
            path = self.project.folder / words[1]
            path.touch() if words[0] == "touch" else path.unlink()
            return ""
        words = words[words[0] == "python" :]
        if words[:2] == ["manage.py", "runworker"]:
            self.worker = self.project.start(words, "worker.log")
            self.until(lambda: self.count(LIVE) > 0)
            return ""
        code, output = self.project.run(words, **environment)
        assert code == 0, f"{command}\n{output}"
        return output


def test_tutorial_makes_a_site(tmp_path: Path, until: Callable[..., None]) -> None:
    environment = {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    with contextlib.closing(NewProject(tmp_path, environment)) as project:
        reader = Reader(project, until)
        try:
            for block in blocks(PAGE):
                reader.follow(block)
        finally:
            if reader.worker:
                project.end(reader.worker, signal.SIGTERM)
    assert " failure " not in (tmp_path / "worker.log").read_text()
