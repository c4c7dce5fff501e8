"""The README and the pages of ``docs``: their code runs.

In a page's source, ``# shop/jobs.py`` as the first line of a block of Python makes it that module;
``# settings.py`` sets its DJANGO_JOBS for the blocks that follow. Blocks of ``pycon`` are doctests.
Comments control the run: ``.. a worker runs`` runs all ready jobs, ``.. check:`` has a doctest that
readers do not see, and ``.. compiled only: why`` precedes a block that cannot run here.
"""

from __future__ import annotations

import ast
import doctest
import re
import shlex
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db.utils import ConnectionHandler

from django_jobs import checks
from django_jobs.checks.database import check_configuration
from django_jobs.define.options import JobOptions
from django_jobs.define.schedule_spec import periodic_tasks
from django_jobs.metrics.capped_count import ready_queues
from tests.pages import PAGES, Block, blocks, name_of, parser_of, public_modules

#: tests/test_docs_tutorial.py runs the tutorial, as a project of its own.
RUN_HERE = [page for page in PAGES if name_of(page) != "tutorial"]
#: Modules of pages that need tables or services; those of ``tests`` take their places.
STANDING_IN = ("shop/models", "shop/services")


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
        elif match["path"] in STANDING_IN:
            self.stand_in(match["path"].replace("/", "."))
        else:
            exec(code, self.new_module(match["path"].replace("/", ".")).__dict__)

    def stand_in(self, name: str) -> None:
        self.new_module(name)
        module = import_module(f"tests.{name}")
        self.patch.setitem(sys.modules, name, module)
        package, _, attribute = name.rpartition(".")
        self.patch.setattr(sys.modules[package], attribute, module, raising=False)

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
@pytest.mark.parametrize("path", RUN_HERE, ids=name_of)
@pytest.mark.usefixtures("registered", "scheduled")
def test_code_of_page_runs(
    path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]
) -> None:
    settings.ADMINS = ["ops@example.com"]  # every project has its own
    page = Page(path, settings, monkeypatch, work)
    for block in blocks(path):
        page.run(block)


@pytest.mark.once
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_modules_of_page_that_define_jobs_are_found_by_workers(path: Path) -> None:
    for block in blocks(path):
        module = re.match(r"# ([\w/]+)\.py\n", block.text)
        if module and re.search(r"^(@job\b|add_periodic_task\()", block.text, re.MULTILINE):
            assert {"jobs", "tasks"} & set(module[1].split("/")), f"line {block.line}"


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


@pytest.mark.once
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


@pytest.mark.once
def test_the_test_knows_public_from_private_names() -> None:
    assert is_public("django_jobs.AsyncResult")
    assert is_public("django_jobs.control.schedules")
    assert not is_public("django_jobs.api")
    assert not is_public("django_jobs.control.jobs.move")


@pytest.mark.once
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_has_no_list_of_contents(path: Path) -> None:
    """The theme shows one beside each page, and an error in place of a second one."""
    assert not re.search(r"^\.\. contents::", path.read_text(), re.MULTILINE)


@pytest.mark.once
def test_pages_have_code() -> None:
    kinds = [block.kind for page in PAGES for block in blocks(page) if block.runs]
    assert kinds.count("python") > 20
    assert kinds.count("pycon") > 20
    assert kinds.count("console") > 5


#: What readers type into the search, where the pages might use another word only.
SEARCHED = (
    "alternatives", "bulk", "cancel", "comparison", "daylight saving", "dead letter", "debounce",
    "dynamic schedules", "error callback", "file upload", "graceful shutdown", "idempotency key",
    "maintenance", "memory leak", "per customer", "per tenant", "per user", "requeue", "sharding",
    "SIGTERM", "singleton", "Slack", "stack trace", "starvation", "throttle", "unit tests",
    "WebSocket", "Windows",
)  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("words", SEARCHED)
def test_search_finds_the_words_of_readers(words: str) -> None:
    pages = {name_of(page): " ".join(page.read_text().split()) for page in PAGES}
    found = {name for name, text in pages.items() if words.lower() in text.lower()}
    assert found - {"changelog", "README"}


COMMANDS = [
    pytest.param(line.removeprefix("$ python manage.py "), id=f"{name_of(page)}-{line[19:50]}")
    for page in PAGES
    for block in blocks(page)
    if block.kind == "console"
    for line in block.text.splitlines()
    if re.match(r"\$ python manage.py (runworker|runbeat|jobs)\b", line)
]


@pytest.mark.once
@pytest.mark.parametrize("line", COMMANDS)
def test_command_of_page_parses(line: str) -> None:
    name, *arguments = shlex.split(line.partition(" #")[0])
    parser_of(name).parse_args(arguments)


def literals(pattern: str) -> list[str]:
    """The literals of the prose of all pages that match, each once."""
    texts = (" ".join(page.read_text().split()) for page in PAGES)
    return sorted({found for text in texts for found in re.findall(f"``{pattern}``", text)})


@pytest.mark.once
@pytest.mark.parametrize("literal", literals(r"(@job\([^`]*[^=`]\))"))
def test_option_in_the_prose_exists(literal: str) -> None:
    call = ast.parse(literal[1:].replace("…", "0"), mode="eval").body
    assert isinstance(call, ast.Call)
    assert {word.arg for word in call.keywords} <= {each.name for each in fields(JobOptions)}


@pytest.mark.once
@pytest.mark.parametrize("line", literals(r"manage\.py ((?:jobs|runworker|runbeat) [^`]*)"))
def test_command_in_the_prose_parses(line: str) -> None:
    name, *arguments = shlex.split(line)
    try:
        parser_of(name).parse_args(arguments)
    except CommandError as error:
        # The prose may leave out what follows.
        if not re.search("arguments are required|expected one argument", str(error)):
            raise
