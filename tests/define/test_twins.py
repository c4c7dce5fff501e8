from __future__ import annotations

import inspect

import pytest
from asgiref.sync import async_to_sync

from django_jobs.define.twins import twin

pytestmark = pytest.mark.once


class Base:
    def double(self, number: int, *, plus: int = 0) -> int:
        """Return twice the number."""
        return 2 * number + plus

    adouble = twin(double)


class Triple(Base):
    def double(self, number: int, *, plus: int = 0) -> int:
        return 3 * number + plus


def test_twin_returns_what_the_method_returns() -> None:
    assert async_to_sync(Base().adouble)(4, plus=1) == 9


def test_twin_runs_the_method_of_a_subclass() -> None:
    assert async_to_sync(Triple().adouble)(4, plus=1) == 13


def test_twin_has_a_name_a_text_and_a_signature() -> None:
    assert inspect.iscoroutinefunction(Base.adouble)
    assert Base.adouble.__name__ == "adouble"
    assert Base.adouble.__doc__ == "Asynchronous twin of :meth:`double`."
    assert list(inspect.signature(Base.adouble).parameters) == ["self", "number", "plus"]
