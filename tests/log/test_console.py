"""The console of runworker and runbeat writes text or JSON, or says that LOGGING decides."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jobs import log

pytestmark = pytest.mark.once


@pytest.fixture
def a_root(settings: Any) -> Iterator[Callable[[], logging.Logger]]:
    """Return the root logger, as in a process of its own without ``LOGGING``."""
    root, package = logging.getLogger(), logging.getLogger("django_jobs")
    kept = (root, package, logging.getLogger("django"))
    before = [(each, each.handlers[:], each.level) for each in kept]
    hook = threading.excepthook
    settings.LOGGING = {}

    def a_root() -> logging.Logger:
        root.handlers[:] = []  # pytest adds its own before each phase of a test
        package.handlers[:] = []  # commands of earlier tests may have added theirs
        package.setLevel(logging.NOTSET)
        root.setLevel(logging.WARNING)
        return root

    yield a_root
    threading.excepthook = hook
    logging.captureWarnings(False)
    for each, handlers, level in before:
        each.handlers[:] = handlers
        each.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("command", ["runworker", "runbeat"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_format_is_refused_where_the_project_has_handlers(
    command: str, log_format: str, a_root: Callable[[], logging.Logger]
) -> None:
    root = a_root()
    for logger in (root, logging.getLogger("django_jobs")):
        logger.addHandler(handler := logging.NullHandler())
        with pytest.raises(CommandError, match=r"--log-format .* no effect .*\.JsonFormatter"):
            call_command(command, log_format=log_format)
        logger.removeHandler(handler)


def test_format_leaves_the_handlers_of_other_loggers_and_says_so(
    settings: Any,
    a_root: Callable[[], logging.Logger],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Django 6.1 configures what a test sets.
    loggers: Any = {"shop.server": {}, "shop": {}}
    settings.LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": loggers}
    server = logging.getLogger("shop.server")
    monkeypatch.setattr(server, "handlers", [logging.NullHandler()])
    a_root()
    log.set_up_console(None, "json")
    logging.getLogger("shop").info("bought")
    warning, bought = lines(capsys)
    assert (warning["level"], bought["message"]) == ("WARNING", "bought")
    assert warning["message"].endswith(" LOGGING gives to shop.server")
    assert server.handlers


def test_level_of_logging_stays(settings: Any, a_root: Callable[[], logging.Logger]) -> None:
    settings.LOGGING = {
        "version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}
    }  # fmt: skip
    root = a_root()
    root.setLevel(logging.ERROR)
    log.set_up_console(None, "json")
    assert root.level == logging.ERROR
    log.set_up_console("DEBUG", "json")
    assert root.level == logging.DEBUG


def test_formats_replace_each_other(a_root: Callable[[], logging.Logger]) -> None:
    root = a_root()
    shown = []
    for log_format in (None, "json", "text", "json", None):
        log.set_up_console(None, log_format)
        (handler,) = root.handlers
        shown.append(type(handler.formatter))
    text, as_json = log.ConsoleFormatter, log.JsonFormatter
    assert shown == [text, as_json, text, as_json, as_json]


def test_stderr_has_nothing_but_lines_of_json(
    a_root: Callable[[], logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    a_root()
    logging.getLogger("django").addHandler(logging.StreamHandler())
    log.set_up_console(None, "json")
    logging.getLogger("django").warning("of Django")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("of Python\nitself", stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="mine")
    thread.start()
    thread.join()
    django, python, of_thread = lines(capsys)
    assert django["message"] == "of Django"
    assert (python["logger"], "of Python\nitself" in python["message"]) == ("py.warnings", True)
    assert of_thread["message"] == "a thread has failed thread=mine"
    assert of_thread["exc_info"].endswith("ZeroDivisionError: division by zero")


def test_end_of_a_thread_by_exit_is_silent(
    a_root: Callable[[], logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    a_root()
    log.set_up_console(None, "json")
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    assert lines(capsys) == []
