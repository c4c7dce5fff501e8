"""The columns that the dialects derive from the fields of the values."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.db import tables
from django_jobs.models import Job
from django_jobs.values import CLAIMED_TYPES, NEW_TYPES, OUTCOME_TYPES

pytestmark = pytest.mark.once

COLUMNS = {field.column for field in Job._meta.concrete_fields}


@pytest.mark.parametrize("names", [tables.NEW_COLUMNS, CLAIMED_TYPES, OUTCOME_TYPES])
def test_derived_names_are_columns_of_a_job(names: tuple[str, ...]) -> None:
    assert set(names) <= COLUMNS
    assert len(names) == len(set(names))


def test_values_hold_what_their_statements_need() -> None:
    assert list(OUTCOME_TYPES)[:5] == ["status", "result", "retries", "crashes", "deferrals"]
    assert list(OUTCOME_TYPES)[5:] == ["error_class", "error_message"]
    assert "expired" not in CLAIMED_TYPES
    assert set(tables.NEW_COLUMNS) - set(NEW_TYPES) == {"run_at", "enqueued_at", "ready_at"}


@pytest.mark.parametrize("name", ["crashes", "deferrals", "schedule_id"])
def test_column_without_a_meaning_of_its_own_is_in_no_dialect(name: str) -> None:
    files = sorted(Path(tables.__file__).parent.glob("*.py"))
    assert len(files) > 5
    assert [path.name for path in files if name in path.read_text()] == []
