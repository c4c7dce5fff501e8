"""Commands run the system checks without a database, which may be away when they start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import registry
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

pytestmark = pytest.mark.once


@pytest.fixture
def seen() -> Iterator[list[Any]]:
    """The databases that each run of the checks names."""
    found: list[Any] = []

    def check(app_configs: Any, databases: Any, **kwargs: Any) -> list[Any]:
        found.append(databases)
        return []

    registry.register(check)
    yield found
    registry.registry.registered_checks.discard(check)


@pytest.mark.parametrize("name", ["runworker", "runbeat", "jobs"])
def test_system_checks_of_a_command_name_no_database(name: str, seen: list[Any]) -> None:
    command: BaseCommand = load_command_class("django_jobs", name)
    command.check()
    assert seen == [()]
