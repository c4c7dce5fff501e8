"""Random inputs: each database refuses the same ones, and keeps the others as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fuzz

SEEDS = st.integers(0, 2**32)


@pytest.mark.once
@settings(max_examples=200, derandomize=True)
@given(SEEDS)
def test_values_are_refused_or_come_back(seed: int) -> None:
    fuzz.check_text_of(fuzz.Inputs(seed).value())


@pytest.mark.once
@settings(max_examples=300, derandomize=True)
@given(SEEDS)
def test_crontabs_are_refused_with_an_error_of_their_own(seed: int) -> None:
    fuzz.is_crontab(fuzz.Inputs(seed).crontab())


@pytest.mark.django_db
@pytest.mark.parametrize("check", fuzz.CHECKS)
def test_all_databases_have_one_verdict(check: Callable[[Any, Any], None]) -> None:
    worker = fuzz.new_worker()

    @settings(max_examples=40, derandomize=True)
    @given(SEEDS)
    def verdicts(seed: int) -> None:
        check(fuzz.Inputs(seed), worker)

    verdicts()
