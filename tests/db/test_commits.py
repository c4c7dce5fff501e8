"""What follows a commit."""

from __future__ import annotations

import functools

import pytest
from django.db import transaction

from django_jobs.db.commits import after_commit


@pytest.mark.django_db(transaction=True)
def test_error_after_a_commit_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    broken = functools.partial(int, "no number")
    with transaction.atomic():
        after_commit("default", broken)
        after_commit("default", done.append, "inside")
        assert done == []
    after_commit("default", broken)
    after_commit("default", done.append, "outside")
    assert done == ["inside", "outside"]
    assert caplog.text.count("no number") >= 2
