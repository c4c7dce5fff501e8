"""The page about logging lists every record that the package makes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

from tests.log.test_attributes import LINES, OF_JOB, is_logged
from tests.pages import rows
from tests.test_architecture import PACKAGE

pytestmark = pytest.mark.once

_LOGGERS = {"_jobs": "job", "_worker": "worker", "_beat": "beat"}
#: The statuses of :func:`django_jobs.log.job_ended`, which the message has in place of an event.
ENDS = {
    "success": "INFO",
    "failure": "INFO, ERROR",
    "retry": "WARNING",
    "scheduled": "INFO, WARNING",
    "pending": "INFO",
    "revoked": "INFO",
}
_ORDER = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def event_of(text: str) -> str:
    """Return what a message begins with, before its first value or explanation."""
    return re.split(r"\s*\w*[=%]|[:;,\n]", text)[0].strip()


def events() -> dict[str, tuple[str, str]]:
    """Return the logger and the levels of each event of the package."""
    found: dict[str, tuple[str, set[str]]] = {}
    levels: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        own = re.search(r'^_log = logging.getLogger\("(.*)"\)$', path.read_text(), re.MULTILINE)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not is_logged(node):
                continue
            if not isinstance(node.func, ast.Attribute) or node.func.attr == "log":
                continue  # the end of an attempt, and what jobs print: their levels vary
            assert isinstance(node.func.value, ast.Name)
            name = node.func.value.id
            if name == "_log":
                assert own, path
                logger = own[1]
            else:
                logger = f"django_jobs.{_LOGGERS[name]}"
            text = node.args[0]
            assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: log a literal text"
            if event := event_of(text.value):
                levels[event].add({"exception": "error"}.get(node.func.attr, node.func.attr))
                found[event] = logger, levels[event]
    shown = {
        event: (logger, ", ".join(level for level in _ORDER if level.lower() in names))
        for event, (logger, names) in found.items()
    }
    return shown | {name: ("django_jobs.job", level) for name, level in ENDS.items()}


def test_page_lists_every_event_with_its_logger_and_level() -> None:
    listed = {name: cell for name, cell in rows("logging.rst").items() if "``: " in cell}
    assert listed == {
        event: f"``{logger}``: {levels}" for event, (logger, levels) in events().items()
    }


def test_page_tells_which_events_are_about_a_job() -> None:
    """Of the functions of the log, as the test of their attributes has it."""
    page = rows_about("logging.rst")
    source = (PACKAGE / "log" / "__init__.py").read_text()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name not in LINES:
            continue
        of_job = OF_JOB["job_id"] == LINES[node.name][1]["job_id"]
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and is_logged(call) and call.args:
                text = call.args[0]
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    event = event_of(text.value)
                    assert page[event].startswith("a job") >= of_job, event


def rows_about(page: str) -> dict[str, str]:
    """Return the third cell of each row of the table, by the first."""
    from tests.pages import DOCS

    row = r"^   \* - ``([^`]+)``\n     - ``django_jobs\.\w+``: .*\n     - (.*)"
    return dict(re.findall(row, (DOCS / page).read_text(), re.MULTILINE))
