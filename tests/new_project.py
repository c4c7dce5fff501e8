"""Runs commands in a project of their own, as forks of a process that has imported it.

A start of Python and its imports take longer than most commands. ``python -m tests.new_project``
forks for each line of its standard input. Its first forks know no project. For each state of the
project's code, one fork imports it, and the others are forks of that one.
"""

from __future__ import annotations

import doctest
import gc
import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import django
from django.core.management import call_command, execute_from_command_line, load_command_class
from django.db import connections
from django.test import Client

#: Exit code of a process that has the project's old code.
RENEW = 77


class NewProject:
    """A folder, and the process whose forks run in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.new_project", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment),
        )  # fmt: skip

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the project cannot be imported"
        return int(answer)

    def renew(self) -> None:
        """Import the project's code again; its processes must have ended."""
        self._ask(renew=True)

    def start(self, words: list[str], log: str, **environment: str) -> int:
        """Run a file of Python with arguments; return the id of the process."""
        return self._ask(words=words, log=log, environment=environment)

    def end(self, pid: int, number: int = 0) -> int:
        """Send a signal to a process, wait for its end, and return its exit code."""
        return self._ask(pid=pid, signal=number)

    def run(self, words: list[str], **environment: str) -> tuple[int, str]:
        """Run a file of Python with arguments; return its exit code and its output."""
        code = self.end(self.start(words, "output.log", **environment))
        output = self.folder / "output.log"
        text = output.read_text()
        output.unlink()
        return code, text


def become(words: list[str], log: str, environment: dict[str, str]) -> NoReturn:
    """Run a file, or the examples of a text, with *log* for its output."""
    code: Any = 0
    try:
        run(words, log, environment)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # The end of an interpreter with the whole project takes longer than most commands.
    os._exit(code if isinstance(code, int) else bool(code))


def run(words: list[str], log: str, environment: dict[str, str]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= environment
    sys.argv = words
    if words[0] == "django-admin":
        execute_from_command_line(words)
    elif words[0] == "examples":
        run_examples(words[1])
    else:
        runpy.run_path(words[0], run_name="__main__")


def run_examples(text: str) -> None:
    # Another name than that of the tests, which DEBUG allows.
    known = {"client": Client(SERVER_NAME="127.0.0.1")}
    examples = doctest.DocTestParser().get_doctest(text, known, "check", None, None)
    sys.exit(doctest.DocTestRunner(verbose=False).run(examples).failed)


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "renew" in request:
            os._exit(RENEW)
        elif pid := request.pop("pid", None):
            if number := request["signal"]:
                os.kill(pid, number)
            answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        elif pid := os.fork():
            answer(pid)
        else:
            become(**request)


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def import_project() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    django.setup()
    from django_jobs.worker import supervisor, worker  # noqa: F401

    for command in ("jobs", "runbeat", "runworker"):
        load_command_class("django_jobs", command)
    call_command("check", stdout=io.StringIO())  # imports the URLs and the admin
    connections.close_all()
    gc.freeze()


def main(folder: str) -> None:
    os.chdir(folder)
    sys.path.insert(0, folder)
    if not (pid := os.fork()):
        serve()
        return
    while os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == RENEW:
        if not (pid := os.fork()):
            import_project()
            answer(0)
            serve()
            return


if __name__ == "__main__":
    main(sys.argv[1])
