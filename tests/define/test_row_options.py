"""The options of a row: one value, read from the JSON that people see in the column."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import django_jobs
from django_jobs.define.row_options import (
    NOTHING,
    TAKES_A_RESULT,
    CallOptions,
    RowOptions,
    WorkflowOptions,
    parse,
    read,
    taking_one_more,
)

pytestmark = pytest.mark.once

PACKAGE = Path(django_jobs.__file__).parent
EVERY = {
    "time_limit": 5,
    "soft_time_limit": 2.5,
    "ignore_result": True,
    "link_error": [[{"job": "shop.alert"}, None], [{"job": "shop.tell"}, "01-02"]],
    "later": {"countdown": 3.0, "expires": 60},
    "for": "01-02+03",
    "shape": ["value", ["value"]],
    "group": "0189-aa",
    "takes": ["value", ["value", "value"]],
}


def test_row_without_options_costs_no_parsing() -> None:
    assert parse(None) is NOTHING
    assert read(None) is NOTHING
    assert NOTHING.stored() == {}


def test_options_of_a_call_and_of_its_workflow_stand_apart() -> None:
    options = parse(json.dumps(EVERY))
    assert options.call == CallOptions(time_limit=5, soft_time_limit=2.5, ignore_result=True)
    assert options.workflow == WorkflowOptions(
        takes=["value", ["value", "value"]],
        later={"countdown": 3.0, "expires": 60},
        errbacks=(({"job": "shop.alert"}, None), ({"job": "shop.tell"}, "01-02")),
        place="01-02+03",
        shape=["value", ["value"]],
        group="0189-aa",
    )
    assert options.problem == ""


@pytest.mark.parametrize("key", sorted(EVERY))
def test_what_is_stored_is_what_was_read(key: str) -> None:
    stored = {key: EVERY[key]}
    assert parse(json.dumps(stored)).stored() == stored
    assert read(EVERY).stored() == EVERY


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("null", "options must be a JSON object, the row has a number, a boolean or null."),
        ('"takes"', "options must be a JSON object, the row has a text."),
        ('{"time_limit": "5"}', "time_limit must be seconds, the row has '5'."),
        ('{"takes": "all"}', "The option takes must be one of value, list, summary, nothing or"),
        ('{"takes": ["value", 5]}', "The option takes must be one of"),
    ],
)
def test_problem_says_why_the_job_cannot_run(text: str, problem: str) -> None:
    options = parse(text)
    assert problem in options.problem
    assert (options.call, options.workflow.takes) == (CallOptions(), None)


def test_other_jobs_read_what_is_right_in_options_that_are_wrong() -> None:
    options = parse('{"time_limit": "5", "takes": "list", "link_error": 5, "for": "01"}')
    assert (options.workflow.takes, options.workflow.place) == ("list", "01")
    assert options.workflow.errbacks == ()


@pytest.mark.parametrize(
    ("takes", "taken_as", "is_body"),
    [
        (None, None, False), ("value", "value", False), ("summary", "summary", False),
        ("list", "list", True), ("nothing", None, True), (["value"], ["value"], True),
    ],
)  # fmt: skip
def test_body_of_a_chord_is_known_by_how_it_takes_results(
    takes: Any, taken_as: Any, is_body: bool
) -> None:
    workflow = WorkflowOptions(takes=takes)
    assert (workflow.taken_as, workflow.is_body) == (taken_as, is_body)


def test_job_that_takes_one_more_keeps_options_that_this_code_does_not_know() -> None:
    stored = {"takes": ["value"], "of_newer_code": 1}
    assert taking_one_more(stored) == {"takes": ["value", "value"], "of_newer_code": 1}
    assert stored["takes"] == ["value"]


def keys_read(source: str) -> set[str]:
    """Return the keys of a row's options that a module reads from a dict or looks for in a text."""
    keys = {"takes", "link_error", "later", "shape"}
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("options.get"):
            found |= {str(each.value) for each in node.args if isinstance(each, ast.Constant)}
        elif isinstance(node, ast.Subscript | ast.Compare):
            owner = node.value if isinstance(node, ast.Subscript) else node.comparators[0]
            key = node.slice if isinstance(node, ast.Subscript) else node.left
            if isinstance(key, ast.Constant) and ast.unparse(owner).endswith(("options", "extra")):
                found.add(str(key.value).strip('"'))
    return found & keys


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ('options.get("takes")', "takes"), ('row.options["shape"]', "shape"),
        ("'\"takes\"' in job.options", "takes"), ('node.extra["later"]', "later"),
    ],
)  # fmt: skip
def test_the_test_sees_a_key_that_is_read(source: str, key: str) -> None:
    assert keys_read(source) == {key}


# options that are not a row's: of a call, and of the canvas
OTHERS = {"call_options.py", "canvas.py", "calls.py", "insert.py", "submit.py"}


def test_no_other_module_reads_the_options_of_a_row_by_key() -> None:
    wrong = {
        path.relative_to(PACKAGE).as_posix(): keys
        for path in PACKAGE.rglob("*.py")
        if path.name not in OTHERS | {"row_options.py"} and (keys := keys_read(path.read_text()))
    }
    assert wrong == {}


def test_options_are_values() -> None:
    assert RowOptions() == NOTHING
    with pytest.raises(AttributeError):
        NOTHING.workflow.takes = "list"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("workflow", "takes"),
    [
        ({}, False),
        ({"takes": "value"}, True),
        ({"takes": "list", "place": "01", "errbacks": (({"job": "a"}, None),)}, True),
        ({"takes": ["value", ["value"]], "later": {"countdown": 1}}, True),
        ({"takes": "nothing"}, False),
        ({"errbacks": (({"kwargs": {"takes": "value"}}, None),)}, False),
        ({"place": ',"takes":"value"'}, False),
    ],
)
def test_text_of_stored_options_tells_whether_the_job_takes_a_result(
    workflow: dict[str, Any], takes: bool
) -> None:
    options = RowOptions(CallOptions(max_retries=1), WorkflowOptions(**workflow))
    text = json.dumps(options.stored(), separators=(",", ":"))
    assert bool(re.search(TAKES_A_RESULT, text)) is takes
    assert (options.workflow.taken_as is not None) is takes
