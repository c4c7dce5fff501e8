from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobs.run.claim import ready_queues
from django_jobs.values import Outcome


@pytest.fixture
def drain(work: Callable[..., list[Outcome]]) -> Callable[..., list[Outcome]]:
    """Work until nothing is ready; return all outcomes."""

    def drain(limit: int = 100, **options: Any) -> list[Outcome]:
        every: list[Outcome] = []
        while queues := set(ready_queues("default")) - {"@"}:
            every += work(limit, sorted(queues), **options)
        return every

    return drain
