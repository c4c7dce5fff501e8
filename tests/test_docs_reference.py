"""The tables of the documentation that are made from the code have everything."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.dispatch import Signal

from django_jobs import signals
from django_jobs.beat.sync import OPTIONS
from django_jobs.define.call_options import CallKeywords
from django_jobs.define.options import JobOptions
from django_jobs.define.step_function import StepOptions
from django_jobs.status import Status
from docs import reference_tables
from docs.columns import MEANINGS
from tests.pages import DOCS
from tests.test_architecture import PACKAGE
from tests.test_docs_tables import flags

pytestmark = pytest.mark.once


def page(name: str) -> str:
    return reference_tables.written(name, (DOCS / f"{name}.rst").read_text())


def test_every_comment_for_a_table_is_replaced() -> None:
    for name, comments in reference_tables.PAGES.items():
        text = (DOCS / f"{name}.rst").read_text()
        assert {line for line in text.splitlines() if line.startswith(".. the ")} == set(comments)
        assert ".. the " not in page(name)


def test_options_of_jobs_calls_schedules_and_steps_are_in_one_table() -> None:
    kinds = (JobOptions, CallKeywords, StepOptions)
    names = {name for kind in kinds for name in inspect.get_annotations(kind)}
    assert set(reference_tables.options()) == {*names, *OPTIONS, "name", "sensitive"}
    assert ":doc:`@job <defining>`, :doc:`a call <enqueuing>`" in page("reference")


def test_sentence_ends_where_it_should() -> None:
    assert reference_tables.sentence("One of ``a. b``. Two.") == "One of ``a. b``"
    assert reference_tables.sentence("From 0.5 to 1; more") == "From 0.5 to 1; more"


def test_each_check_says_what_it_means_and_what_to_do() -> None:
    text = page("reference")
    ids = set(re.findall(r"``(django_jobs\.\w\d+)``", (DOCS / "settings.rst").read_text()))
    assert set(reference_tables.checks()) == ids
    for name in ids:
        assert f"   * - ``{name.removeprefix('django_jobs.')}``\n" in text


@pytest.mark.django_db
def test_permissions_are_those_that_django_makes() -> None:
    made = Permission.objects.filter(content_type__app_label="django_jobs")
    assert set(reference_tables.permissions()) == set(made.values_list("codename", flat=True))


def test_each_stable_column_has_a_meaning() -> None:
    stable = reference_tables.stable_columns()
    assert {model: set(names) for model, names in stable.items()} == {
        model: set(names) for model, names in MEANINGS.items()
    }
    assert "JSON, or NULL" in page("reference")


def test_each_model_is_stable_or_named_as_private() -> None:
    text = (DOCS / "stability.rst").read_text()
    private = text.partition("are private. So are the models")[2].partition(". :doc:")[0]
    names = {model.__name__ for model in apps.get_app_config("django_jobs").get_models()}
    assert names == {*reference_tables.stable_columns(), *re.findall(r"``(\w+)``", private)}


def test_page_of_commands_has_each_verb_and_flag() -> None:
    sections = re.split(r"^manage\.py (.+)\n[-~]+\n", page("commands"), flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    parsers = dict(reference_tables.parsers())
    assert set(texts) == set(parsers) > {"runworker", "jobs control add-queue"}
    for name, parser in parsers.items():
        assert not {flag for flag in flags(parser) if flag not in texts[name]}, name
        assert "--settings" not in texts[name]


def test_life_of_a_job_has_every_status() -> None:
    page = (DOCS / "reliability.rst").read_text()
    text = page.partition(".. _statuses:\n\nThe life of a job\n")[2]
    assert set(re.findall(r"^``([A-Z]+)`` ", text, re.MULTILINE)) == set(Status)


#: What the functions that send add to what they are given.
ADDED = {"run/hooks.py": {"job_id"}, "worker/worker.py": {"worker_id"}}
OF_THE_LOG = {"hidden", "about", "inside"}


def arguments_sent() -> dict[str, set[str]]:
    """The arguments of each signal, from the calls that send it."""
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                signal = ast.unparse(node.args[0]).removeprefix("signals.")
                if signal in known and "end" in ast.unparse(node.func):
                    given = {word.arg for word in node.keywords if word.arg} - OF_THE_LOG
                    added = ADDED.get(str(path.relative_to(PACKAGE)), set())
                    if "send_of_worker" in ast.unparse(node.func):
                        given, added = given - {"queues"}, set()
                    found[signal] = found.get(signal, set()) | given | added
    return found


def test_signals_have_the_arguments_that_are_sent() -> None:
    listed = {}
    for name, (_moment, arguments) in reference_tables.cells("signals").items():
        literals = re.findall(r"``([^`]+)``", arguments)
        listed[name] = {word for text in literals for word in re.split(r",\s*", text)}
    assert listed == arguments_sent()
