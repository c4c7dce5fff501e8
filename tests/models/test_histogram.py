from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.models.histogram import (
    BOUNDS,
    BUCKETS,
    MOST_ERRORS,
    OTHERS,
    Errors,
    Tally,
    packed,
    percentile,
    unpacked,
)

pytestmark = pytest.mark.once

SECONDS = st.floats(0, 1000)


def measured(seconds: list[float]) -> Tally:
    tally = Tally()
    tally.measure(list(seconds), list(seconds))
    return tally


def bucket_of(seconds: float) -> int:
    return next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), BUCKETS - 1)


def test_buckets_are_26_from_20_ms_to_335_s() -> None:
    assert BUCKETS == 26
    assert (BOUNDS[0], BOUNDS[-1]) == (0.02, 335)
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_a_bound_belongs_to_its_bucket() -> None:
    assert measured(list(BOUNDS)).runs == [1] * len(BOUNDS) + [0]


@settings(derandomize=True, max_examples=100)
@given(st.lists(SECONDS, min_size=1, max_size=60))
def test_histogram_counts_each_value_in_its_bucket(seconds: list[float]) -> None:
    tally = measured(seconds)
    expected = [0] * BUCKETS
    for each in seconds:
        expected[bucket_of(each)] += 1
    assert tally.runs == tally.waits == expected
    assert tally.longest_run_seconds == max(seconds)
    assert tally.run_seconds == pytest.approx(math.fsum(seconds))


@settings(derandomize=True, max_examples=150)
@given(st.lists(SECONDS, min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_percentile_lies_in_the_bucket_of_the_exact_one(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    found = percentile(measured(seconds).runs, share, max(seconds))
    bucket = bucket_of(exact)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert found is not None
    assert low <= found <= max(seconds)
    assert found <= (BOUNDS[bucket] if bucket < len(BOUNDS) else max(seconds))


def test_percentile_of_nothing_is_none() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None


def test_percentile_is_interpolated() -> None:
    counts = unpacked([0, 100])
    assert percentile(counts, 0.5) == pytest.approx(0.025)
    assert percentile(counts, 1.0) == pytest.approx(0.03)
    assert percentile(counts, 1.0, longest=0.028) == pytest.approx(0.028)


@settings(derandomize=True, max_examples=50)
@given(st.lists(SECONDS, min_size=1, max_size=20), st.lists(SECONDS, min_size=1, max_size=20))
def test_sum_of_two_is_the_tally_of_all(some: list[float], others: list[float]) -> None:
    total = measured(some)
    total.add(measured(others))
    together = measured([*some, *others])
    assert (total.runs, total.waits) == (together.runs, together.waits)
    assert total.longest_run_seconds == together.longest_run_seconds
    assert total.run_seconds == pytest.approx(together.run_seconds)


def test_packed_leaves_out_the_zeros_at_the_end() -> None:
    assert packed([0, 2, 0, 0]) == [0, 2]
    assert packed([0, 0]) == []
    assert unpacked([0, 2]) == [0, 2] + [0] * (BUCKETS - 2)


def test_errors_of_too_many_classes_are_counted_together() -> None:
    tally = Tally()
    for number in range(MOST_ERRORS + 5):
        tally.errors_of(f"E{number}").count += 1
    tally.errors_of("E0").count += 1
    assert len(tally.errors) == MOST_ERRORS + 1
    assert tally.errors[OTHERS].count == 5
    assert tally.errors["E0"].count == 2


def test_errors_keep_the_latest_sample() -> None:
    errors = Errors(2, 100, "old")
    errors.add(Errors(1, 200, "new"))
    errors.add(Errors(1, 50, "oldest"))
    assert errors == Errors(4, 200, "new")


@settings(derandomize=True, max_examples=150)
@given(st.floats(0, 1e6), st.integers(1, 50), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_of_what_always_takes_as_long_are_exact(
    seconds: float, number: int, share: float
) -> None:
    tally = measured([seconds] * number)
    edges = tally.longest_run_seconds, tally.shortest_run_seconds
    assert percentile(tally.runs, share, *edges) == pytest.approx(seconds)
    waited = tally.longest_wait_seconds, tally.shortest_wait_seconds
    assert percentile(tally.waits, share, *waited) == pytest.approx(seconds)


@settings(derandomize=True, max_examples=50)
@given(st.lists(SECONDS, max_size=20), st.lists(SECONDS, min_size=1, max_size=20))
def test_edges_of_a_sum_are_those_of_all(some: list[float], others: list[float]) -> None:
    total = measured(some) if some else Tally()
    total.add(measured(others))
    total.add(Tally())
    assert total.shortest_run_seconds == total.shortest_wait_seconds == min([*some, *others])
    assert total.longest_wait_seconds == max([*some, *others])
