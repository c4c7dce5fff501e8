"""Each change of a job's status has a name in one module, and changes no row that it is not for."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

import django_jobs
from django_jobs import transitions
from django_jobs.ids import uuid7
from django_jobs.models import Job
from django_jobs.status import Status
from django_jobs.transitions import TRANSITIONS

PACKAGE = Path(django_jobs.__file__).parent
# SQL that gives a column a status by its name, and not by the table's.
_LITERAL = re.compile(rf"(?:status = |THEN |ELSE )'(?:{'|'.join(Status.values)})'")
# SQL that sets a status at all, whatever it is.
_SETS = re.compile(r"\bSET (?:[^;]*, )?(?:\w+\.)?status = ")

NOW = timezone.now()
#: How the tests call each change by the ORM.
CALLS: dict[str, Callable[[Any], int]] = {
    "delay": lambda rows: transitions.delay(rows, NOW),
    "fail_upstream": lambda rows: transitions.fail_upstream(rows, "Error", "told", NOW, None),
    "promote": lambda rows: transitions.promote(rows, NOW),
    "reassert": lambda rows: transitions.reassert(rows, uuid7(), NOW),
    "wait_for_limit": lambda rows: transitions.wait_for_limit(rows, "job:a"),
    "wake": lambda rows: transitions.wake(rows, NOW),
    "resume": lambda rows: transitions.resume(rows, NOW),
    "refuse": lambda rows: transitions.refuse(rows, "Error", "told", NOW),
    "release": transitions.release,
    "revoke": lambda rows: transitions.revoke(rows, "told", NOW, None),
    "retry": lambda rows: transitions.retry(rows, NOW),
    "run_now": lambda rows: transitions.run_now(rows, NOW),
    "wait_again": transitions.wait_again,
    "reopen": transitions.reopen,
    "take_over": lambda rows: transitions.take_over(rows, "PENDING", queue="other"),
}
#: What the dialects write as SQL, and the INSERT.
SQL = {"enqueue", "parents_ended", "claim", "succeed", "record"}


@pytest.mark.once
def test_every_change_has_a_function_or_is_sql() -> None:
    functions = {
        name
        for name, function in inspect.getmembers(transitions, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == transitions.__name__
    }
    assert functions == set(CALLS)
    assert functions | SQL == set(TRANSITIONS)


@pytest.mark.once
def test_docstring_names_every_change() -> None:
    told = set(re.findall(r"\w+", transitions.__doc__ or ""))
    assert set(TRANSITIONS) - told - {"succeed", "refuse"} == set()


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(CALLS))
def test_change_leads_from_its_sources_only(name: str) -> None:
    rows = {
        status: Job.objects.create(
            id=uuid7(), name="tests.jobs.add", queue="q", status=status, enqueued_at=NOW
        )
        for status in Status
    }
    changed = CALLS[name](Job.objects.filter(queue="q"))
    sources, targets = TRANSITIONS[name]
    assert changed == len(sources)
    after = {status: Job.objects.get(pk=row.pk).status for status, row in rows.items()}
    assert {after[status] for status in sources} <= set(targets)
    assert {status: after[status] for status in Status if status not in sources} == {
        status: status for status in Status if status not in sources
    }


@pytest.mark.django_db
def test_other_call_begins_as_an_enqueue_would() -> None:
    with pytest.raises(ValueError, match=r"take_over leads to WAITING, .*, not to SUCCESS"):
        transitions.take_over(Job.objects.all(), "SUCCESS")


# --- no other module ------------------------------------------------------------------------------


def offences(source: str, *, is_dialect: bool = False) -> Iterator[str]:
    """Yield what in a module changes a status by itself."""
    spreads = ".update(**" in source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("update"):
            words = [each.arg for each in node.keywords]
            columns = [_text(each) for each in ast.walk(node)]
            is_bulk = ast.unparse(node.func).endswith("bulk_update")
            if "status" in words or (is_bulk and "status" in columns):
                yield ast.unparse(node)
        elif isinstance(node, ast.Dict) and spreads:
            for key, value in zip(node.keys, node.values, strict=True):
                if _text(key) == "status" and ast.unparse(value).startswith("Status."):
                    yield ast.unparse(node)
        elif isinstance(node, (ast.JoinedStr, ast.Constant)):
            text = _sql(node)
            by_name = _LITERAL.search(text) or (_SETS.search(text) and not is_dialect)
            if "UPDATE " in text and by_name:
                yield text


def _text(node: ast.AST | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _sql(node: ast.JoinedStr | ast.Constant) -> str:
    """Return the text, with a mark for each value that is put in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    return " ".join(text.split())


@pytest.mark.once
@pytest.mark.parametrize(
    "source",
    [
        "Job.objects.filter(id=1).update(status=Status.PENDING)",
        "_update(ids, using, status=Status.PENDING)",
        "rows.bulk_update(jobs, ['status'])",
        "changes |= {'status': Status.SCHEDULED, 'run_at': moment}; rows.update(**changes)",
        "SQL = f'''UPDATE {JOBS} SET claims = 1, status = 'STARTED' WHERE id = %s'''",
        "SQL = f\"UPDATE {JOBS} SET status = CASE WHEN run_at > 1 THEN 'PENDING' END\"",
        "SQL = 'UPDATE django_jobs_job SET status = %s'",
    ],
)
def test_the_test_sees_a_change_of_status(source: str) -> None:
    assert list(offences(source))


@pytest.mark.once
@pytest.mark.parametrize(
    "path",
    [path for path in PACKAGE.rglob("*.py") if path.name != "transitions.py"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_other_module_changes_a_status(path: Path) -> None:
    is_dialect = path.parent.name == "db"
    assert list(offences(path.read_text(), is_dialect=is_dialect)) == []
