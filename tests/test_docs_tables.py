"""The tables of the pages are complete."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import BaseCommand
from django.dispatch import Signal

from django_jobs import checks, exceptions, redaction, signals
from django_jobs.admin.job_actions import OPERATIONS
from django_jobs.api.result import AsyncResult
from django_jobs.beat.sync import OPTIONS
from django_jobs.conf import Settings
from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.options import JobOptions
from django_jobs.management.mcp import tools
from django_jobs.metrics.prometheus import JobsCollector
from django_jobs.models import (
    Attempt,
    AttemptLog,
    Dashboard,
    Function,
    Job,
    Queue,
    Schedule,
    Worker,
)
from tests.pages import DOCS, PAGES, ROOT, ROW, parser_of, public_modules, rows
from tests.test_architecture import PACKAGE


def defaults(kind: type) -> dict[str, Any]:
    made = kind()
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(kind)}


def test_defining_lists_every_option_and_its_default() -> None:
    listed = rows("defining.rst")
    assert listed.pop("name") == "module and function"
    assert listed.pop("base") == "``JobContext``"
    assert listed == {
        name: f"``{default!r}``"
        for name, default in defaults(JobOptions).items()
        if name not in ("name", "base")
    }


def test_enqueuing_lists_every_option() -> None:
    assert set(rows("enqueuing.rst")) == set(CallKeywords.__annotations__)


def test_settings_lists_every_key_its_default_and_every_check() -> None:
    listed = rows("settings.rst")
    files = [*Path(checks.__file__).parent.glob("*.py"), *PACKAGE.glob("contrib/*/checks.py")]
    source = "".join(path.read_text() for path in files)
    ids = {name for name in listed if name.startswith("django_jobs.")}
    assert ids == set(re.findall(r'id="(django_jobs\.\w+)"', source))
    assert {name: listed[name] for name in listed if name not in ids} == {
        name.upper(): f"``{default!r}``" for name, default in defaults(Settings).items()
    }


def flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The parser's own options by their longest name."""
    common = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    return {
        max(action.option_strings, key=len): action
        for action in parser._actions
        if action.option_strings and action.dest not in common and action.help != argparse.SUPPRESS
    }


def test_workers_lists_every_flag() -> None:
    listed = {name.split(", ")[-1].split(" ")[0]: name for name in rows("workers.rst")}
    wanted = flags(parser_of("runworker"))
    assert set(listed) == set(wanted)
    for flag, action in wanted.items():
        for spelling in action.option_strings:
            assert spelling in listed[flag].replace(",", " ").split()


def test_schedules_lists_every_option_and_flag() -> None:
    listed = {name.split(", ")[-1].split(" ")[0] for name in rows("schedules.rst")}
    assert listed == {*OPTIONS, *flags(parser_of("runbeat"))}


def test_admin_lists_every_verb_flag_and_permission() -> None:
    listed = rows("admin.rst")
    verbs = next(a for a in parser_of("jobs")._actions if a.dest == "verb").choices
    assert isinstance(verbs, dict)
    used = {operation.permission.partition(".")[2] for operation in OPERATIONS}
    used |= {
        f"view_{model._meta.model_name}" for model in (Dashboard, Function, Job, Queue, Worker)
    }
    used |= {f"{verb}_queue" for verb in ("add", "change", "delete", "pause")}
    used |= {f"{verb}_schedule" for verb in ("view", "add", "change", "delete", "run")}
    used |= {"delete_job", "view_encrypted_job", "control_worker", "view_measurement"}
    used |= {"view_approval", "answer_approval", "edit_job", "view_stack"}
    assert set(listed) == {*verbs, *used}
    for verb, parser in verbs.items():
        if verb in ("worker", "beat"):  # other pages have their flags
            continue
        for flag in set(flags(parser)) - {"--json", "--database"}:
            assert flag in row_of("admin.rst", verb), f"jobs {verb} {flag}"


def test_control_lists_every_command_subject_and_flag() -> None:
    text = (DOCS / "control.rst").read_text()
    listed = {name.split()[0] for name, _meaning in ROW.findall(text)}
    verbs = next(a for a in parser_of("jobs")._actions if a.dest == "verb").choices
    wanted: dict[str, argparse.ArgumentParser] = {}
    for verb in ("control", "inspect"):
        inner = next(a for a in verbs[verb]._actions if a.dest == "what").choices
        wanted |= inner
    assert listed == set(wanted)
    for name, parser in wanted.items():
        for flag in set(flags(parser)) - {"--json", "--database"}:
            assert f"``{flag}``" in text, f"{name} {flag}"


def row_of(page: str, name: str) -> str:
    text = (DOCS / page).read_text()
    start = text.index(f"   * - ``{name}``\n")
    return text[start : text.find("   * - ", start + 1)]


def test_mcp_lists_every_tool() -> None:
    """One row may have two tools."""
    text = (DOCS / "mcp.rst").read_text()
    for heading, wanted in (("that reads", tools.READ), ("of ``--write``", tools.WRITE)):
        table = text.partition(f"   * - Tool {heading}\n")[2].partition("\n\n")[0]
        cells = re.findall(r"^   \* - (.+)$", table, re.MULTILINE)
        listed = {name for cell in cells for name in re.findall(r"``(\w+)``", cell)}
        assert listed == {tool.__name__ for tool in wanted}


def test_results_lists_every_name() -> None:
    text = (DOCS / "results.rst").read_text()
    names = {name for name in dir(AsyncResult) if not name.startswith("_")}
    assert not {name for name in names if not re.search(rf"``a?{name}\b|``{name}", text)}


def test_signals_lists_every_signal() -> None:
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(rows("signals.rst")) == known


def test_opentelemetry_lists_every_argument_attribute_and_metric() -> None:
    folder = PACKAGE / "contrib" / "opentelemetry"
    source = "".join((folder / f"{name}.py").read_text() for name in ("names", "metrics"))
    source += (folder / "queue_gauges.py").read_text().partition("def create_queue_gauges")[2]
    names = set(re.findall(r'"((?:messaging|error|exception|django_jobs)\.[\w.]+)"', source))
    arguments = inspect.signature(DjangoJobsInstrumentor.instrument).parameters.values()
    options = {each.name for each in arguments if each.kind is each.KEYWORD_ONLY}
    assert set(rows("opentelemetry.rst")) == {*names, *options, "send <job>", "process <job>"}


@pytest.mark.django_db
def test_monitoring_lists_every_metric() -> None:
    counters = {metric.name: metric.type == "counter" for metric in JobsCollector().collect()}
    names = {name + "_total" * is_counter for name, is_counter in counters.items()}
    assert set(rows("monitoring.rst")) == names


def test_security_lists_every_sensitive_name() -> None:
    listed = set(re.findall(r"``(\w+)``", (DOCS / "security.rst").read_text()))
    assert {*redaction._NAMES, *redaction._WORDS} <= listed
    assert {f"{word}_key" for word in redaction._PLAIN_KEYS - {""}} <= listed


def test_pages_name_every_error() -> None:
    text = "".join(page.read_text() for page in PAGES)
    classes = {name for name, value in vars(exceptions).items() if inspect.isclass(value)}
    classes -= {"JobsError", "ImproperlyConfigured", "Any"}
    assert not {name for name in classes if name not in text}


def test_log_events_of_pages_are_those_of_the_code() -> None:
    text = " ".join("".join(page.read_text() for page in PAGES).split())
    events = set(re.findall(r"\blog(?:s|ged as) ``([^`]+)``", text))
    assert events >= {"database away", "outcome dropped", "statement refused", "hook failed"}
    source = "".join(path.read_text() for path in (PACKAGE / "log").glob("*.py"))
    assert {event for event in events if f'"{event}' not in source} == set()


def test_readme_names_the_versions_that_are_declared() -> None:
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    text = (ROOT / "README.rst").read_text()
    table = text[text.index("Compatibility") :]
    for line in metadata["metadata"]["classifiers"].splitlines():
        version = line.rpartition(" :: ")[2]
        if re.match(r"\d+\.\d+$", version):
            assert version in table, line


def test_stability_names_modules_and_columns_that_exist() -> None:
    for name in public_modules():
        import_module(name)
    text = (DOCS / "stability.rst").read_text()
    for model in (Attempt, AttemptLog, Job, Queue, Schedule, Worker):
        start = text.index(f"   * - ``{model.__name__}``\n")
        row = text[start : text.index("\n\n", start)].split("   * - ")[1]
        columns = set(re.findall(r"``(\w+)``", row)) - {model.__name__}
        assert columns <= {field.name for field in model._meta.get_fields()} | {"worker_id"}


EVENT = re.compile(r"^   \* - ``([^`]+)``\n     - ``django_jobs\.\w+``: (.+)$", re.MULTILINE)


def warnings_of_the_log() -> set[str]:
    """The lines at WARNING and above; a test of the page "Logging" keeps its table complete."""
    listed = EVENT.findall((DOCS / "logging.rst").read_text())
    return {name for name, levels in listed if re.search("WARNING|ERROR|CRITICAL", levels)}


def exception_classes() -> set[str]:
    return {
        name
        for name, each in vars(exceptions).items()
        if inspect.isclass(each) and each.__module__ == exceptions.__name__
    }


def test_troubleshooting_has_every_warning_of_the_log_and_every_exception() -> None:
    assert len(warnings_of_the_log()) > 40
    assert set(rows("troubleshooting.rst")) == warnings_of_the_log() | exception_classes()
