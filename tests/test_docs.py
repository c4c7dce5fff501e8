"""The README and the pages of ``docs``: their code runs, and their tables are complete.

In a page's source, ``# shop/jobs.py`` as the first line of a block of Python makes it that module;
``# settings.py`` sets its DJANGO_JOBS for the blocks that follow. Blocks of ``pycon`` are doctests.
Comments control the run: ``.. a worker runs`` runs all ready jobs, ``.. check:`` has a doctest that
readers do not see, and ``.. compiled only: why`` precedes a block that cannot run here.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import doctest
import inspect
import re
import shlex
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.db.utils import ConnectionHandler
from django.dispatch import Signal

from django_jobs import checks, exceptions, redaction, signals
from django_jobs.admin.job_actions import OPERATIONS
from django_jobs.api.result import AsyncResult
from django_jobs.beat.sync import OPTIONS
from django_jobs.checks.database import check_configuration
from django_jobs.conf import Settings
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.options import JobOptions
from django_jobs.define.schedule_spec import periodic_tasks
from django_jobs.metrics.prometheus import JobsCollector
from django_jobs.models import Attempt, Dashboard, Function, Job, Queue, Schedule, Worker
from django_jobs.run.claim import ready_queues
from docs import architecture_diagram
from tests.test_architecture import IMPORTS, MODULES, PACKAGE, SEAMS, top

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("README*.rst")), *sorted(DOCS.rglob("*.rst"))]
CODE = re.compile(r"( *)\.\. (?:code-block:: (\w+)|check:)$")
ROW = re.compile(r"^   \* - ``([^`]+)``\n     - (.*)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    kind: str  # python, pycon, console, … or worker
    text: str
    line: int
    runs: bool = True
    shown: bool = True


def name_of(page: Path) -> str:
    """Return the path below ``docs``, or the README's name, without its end."""
    folder = DOCS if page.is_relative_to(DOCS) else ROOT
    return str(page.relative_to(folder).with_suffix(""))


def blocks(page: Path) -> list[Block]:
    lines, found, runs = page.read_text().splitlines(), [], True
    for number, line in enumerate(lines, 1):
        if line == ".. a worker runs":
            found.append(Block("worker", "", number))
        elif line.startswith(".. compiled only: "):
            runs = False
        elif match := CODE.match(line):
            body = list(indented(lines[number:], match[1] + " "))
            first = number + 1 + next(index for index, line in enumerate(body) if line)
            text = inspect.cleandoc("\n".join(body)) + "\n"
            found.append(Block(match[2] or "pycon", text, first, runs, match[2] is not None))
            runs = True
    return found


def indented(lines: list[str], margin: str) -> Iterator[str]:
    for line in lines:
        if line and not line.startswith(margin):
            return
        yield line


# --- code ---------------------------------------------------------------------------------------


class WholeExceptions:
    """Gives doctest the text of an exception in one piece.

    The doctest of Python 3.11.2 compares the last piece only, and each note is a piece of its own.
    """

    print_exception = staticmethod(traceback.print_exception)

    @staticmethod
    def format_exception_only(*exception: Any) -> list[str]:
        return ["".join(traceback.format_exception_only(*exception))]


class Page:
    """Runs the blocks of one page, one after the other, in one module."""

    def __init__(self, path: Path, settings: Any, patch: Any, work: Callable[..., Any]) -> None:
        self.path, self.settings, self.patch, self.work = path, settings, patch, work
        self.module = self.new_module(re.sub(r"\W", "_", f"{name_of(path).lower()}_page"))

    def new_module(self, name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            self.new_module(package).__path__ = []
        module.__package__ = package
        self.patch.setitem(sys.modules, name, module)
        return module

    def run(self, block: Block) -> None:
        if block.kind == "worker":
            self.work(queues=ready_queues("default"))
        elif block.kind == "pycon":
            self.run_doctest(block)
        elif block.kind == "python":
            # Numbered as in the page, so that a traceback leads there.
            source = "\n" * (block.line - 1) + block.text
            code = compile(source, str(self.path), "exec", dont_inherit=True)
            if block.runs:
                self.run_python(block, code)

    def run_doctest(self, block: Block) -> None:
        examples = doctest.DocTestParser().get_doctest(
            block.text, {}, self.path.name, str(self.path), block.line - 1
        )
        assert examples.examples, f"line {block.line} has no >>>"
        examples.globs = self.module.__dict__  # not a copy of it, so that later blocks have them
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
        with self.patch.context() as patch:
            patch.setattr(doctest, "traceback", WholeExceptions)
            result = runner.run(examples, out=report.append, clear_globs=False)
        assert not result.failed, "".join(report)

    def run_python(self, block: Block, code: types.CodeType) -> None:
        match = re.match(r"# (?P<path>[\w/]+)\.py\n", block.text)
        if match is None:
            exec(code, self.module.__dict__)
        elif match["path"] == "settings":
            self.run_settings(code)
        else:
            exec(code, self.new_module(match["path"].replace("/", ".")).__dict__)

    def run_settings(self, code: types.CodeType) -> None:
        given: dict[str, Any] = {"INSTALLED_APPS": [], "DATABASES": {"default": {}}}
        exec(code, given)
        if "DJANGO_JOBS" in given:
            self.settings.DJANGO_JOBS = given["DJANGO_JOBS"]
        wrong = [*checks.check_settings(None), *checks.check_schedules(None)]
        wrong = [message for message in wrong if message.is_serious()]
        if given["DATABASES"]["default"].get("ENGINE", "").endswith("sqlite3"):
            wrong += check_configuration(ConnectionHandler(given["DATABASES"])["default"])
        assert not wrong


@pytest.fixture
def scheduled() -> Iterator[None]:
    """Forget the schedules that a page added with ``add_periodic_task``."""
    before = list(periodic_tasks)
    yield
    periodic_tasks[:] = before


@pytest.mark.django_db
@pytest.mark.parametrize("path", PAGES, ids=name_of)
@pytest.mark.usefixtures("registered", "scheduled")
def test_code_of_page_runs(
    path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]
) -> None:
    page = Page(path, settings, monkeypatch, work)
    for block in blocks(path):
        page.run(block)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_modules_of_page_that_define_jobs_are_found_by_workers(path: Path) -> None:
    for block in blocks(path):
        module = re.match(r"# ([\w/]+)\.py\n", block.text)
        if module and re.search(r"^(@job\b|add_periodic_task\()", block.text, re.MULTILINE):
            assert {"jobs", "tasks"} & set(module[1].split("/")), f"line {block.line}"


def public_modules() -> set[str]:
    """The modules that the page "API stability" lets users import."""
    return {name for name in rows("stability.rst") if name.startswith("django_jobs")}


def dotted_names(block: Block) -> Iterator[str]:
    """Names of the package that a block imports, or that stand as a text in it."""
    source = block.text
    if block.kind == "pycon":
        examples = doctest.DocTestParser().get_examples(source)
        source = "".join(example.source for example in examples)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(
            r"django_jobs\.[\w.]+", str(node.value)
        ):
            yield str(node.value)


def is_public(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if name in public_modules():
        return True
    return module in public_modules() and (
        attribute in getattr(import_module(module), "__all__", [attribute])
    )


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_imports_public_modules_only(path: Path) -> None:
    private = {
        name
        for block in blocks(path)
        if block.kind in ("python", "pycon") and block.shown
        for name in dotted_names(block)
        if name.partition(".")[0] == "django_jobs" and not is_public(name)
    }
    assert private == set()


def test_the_test_knows_public_from_private_names() -> None:
    assert is_public("django_jobs.AsyncResult")
    assert is_public("django_jobs.control.schedules")
    assert not is_public("django_jobs.api")
    assert not is_public("django_jobs.control.jobs.move")


def test_stability_names_modules_and_columns_that_exist() -> None:
    for name in public_modules():
        import_module(name)
    text = (DOCS / "stability.rst").read_text()
    for model in (Attempt, Job, Queue, Schedule, Worker):
        start = text.index(f"   * - ``{model.__name__}``\n")
        row = text[start : text.index("\n\n", start)].split("   * - ")[1]
        columns = set(re.findall(r"``(\w+)``", row)) - {model.__name__}
        assert columns <= {field.name for field in model._meta.get_fields()} | {"worker_id"}


# --- architecture -------------------------------------------------------------------------------


def test_architecture_names_files_that_exist() -> None:
    text = (DOCS / "architecture.rst").read_text()
    names = set(re.findall(r"``([\w/]+(?:\.py|/))``", text))
    assert len(names) > 50
    known = {name for name in names for folder in (PACKAGE, ROOT) if (folder / name).exists()}
    assert names - known == set()


def test_architecture_names_functions_that_exist() -> None:
    text = (DOCS / "architecture.rst").read_text()
    table = text[text.index("Where is …?") : text.index("The way of a job")]
    found = re.findall(r"``([\w/]+\.py)``: ((?:``\w+\(\)``(?:, )?)+)", table)
    assert len(found) >= 4
    for file, functions in found:
        source = (PACKAGE / file).read_text()
        for function in re.findall(r"(\w+)\(", functions):
            assert f"def {function}(" in source, file


def test_diagram_has_every_package_and_its_first_line() -> None:
    drawn = architecture_diagram.svg()
    for name in {top(module) for module in MODULES}:
        assert f">{name}</text>" in drawn
        assert architecture_diagram.first_line(name), f"{name} has no docstring"


def test_diagram_has_every_import_as_an_arrow_or_as_its_consequence() -> None:
    following: dict[str, set[str]] = {top(module): set() for module in MODULES}
    for name, other in architecture_diagram.arrows():
        following[name].add(other)

    def reached(name: str) -> set[str]:
        return following[name].union(*map(reached, following[name]))

    for module, others in IMPORTS.items():
        for other in others:
            if top(other) != top(module) and (module, other) not in SEAMS:
                assert top(other) in reached(top(module))


def test_pages_have_code() -> None:
    kinds = [block.kind for page in PAGES for block in blocks(page) if block.runs]
    assert kinds.count("python") > 20
    assert kinds.count("pycon") > 20
    assert kinds.count("console") > 5


COMMANDS = [
    pytest.param(line.removeprefix("$ python manage.py "), id=f"{name_of(page)}-{line[19:50]}")
    for page in PAGES
    for block in blocks(page)
    if block.kind == "console"
    for line in block.text.splitlines()
    if re.match(r"\$ python manage.py (runworker|runbeat|jobs)\b", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_of_page_parses(line: str) -> None:
    name, *arguments = shlex.split(line.partition(" #")[0])
    parser_of(name).parse_args(arguments)


# --- tables -------------------------------------------------------------------------------------


def rows(page: str) -> dict[str, str]:
    """The first two cells of each row, of all tables of the page, whose first is one literal."""
    found = ROW.findall((DOCS / page).read_text())
    assert len(found) == len(dict(found)), "two rows have the same name"
    return dict(found)


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
    source = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    ids = {name for name in listed if name.startswith("django_jobs.")}
    assert ids == set(re.findall(r'id="(django_jobs\.\w+)"', source))
    assert {name: listed[name] for name in listed if name not in ids} == {
        name.upper(): f"``{default!r}``" for name, default in defaults(Settings).items()
    }


def parser_of(command: str) -> argparse.ArgumentParser:
    return load_command_class("django_jobs", command).create_parser("manage.py", command)


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
    used |= {"delete_job", "control_worker", "view_measurement"}
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


def test_results_lists_every_name() -> None:
    text = (DOCS / "results.rst").read_text()
    names = {name for name in dir(AsyncResult) if not name.startswith("_")}
    assert not {name for name in names if not re.search(rf"``a?{name}\b|``{name}", text)}


def test_signals_lists_every_signal() -> None:
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(rows("signals.rst")) == known


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
