import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine

from django_jobs.ids import uuid7

pytestmark = pytest.mark.once


def test_uuid7_has_version_and_variant_of_rfc_9562() -> None:
    made = uuid7()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_uuid7_carries_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    # Ids made in a burst run ahead of the clock by 1/4096 ms each.
    assert before <= made.int >> 80 <= after + 1


def test_uuid7_sorts_in_the_order_made() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_uuid7_in_threads_is_unique_and_ordered_in_each() -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [uuid7() for _ in range(2_000)], range(4)))
    assert all(run == sorted(run) for run in runs)
    assert len({made for run in runs for made in run}) == 8_000


@pytest.mark.parametrize("back", [0.1, 0.9])
def test_uuid7_sorts_in_the_order_made_when_the_clock_is_set_back_a_little(back: float) -> None:
    with time_machine.travel(1_900_000_000, tick=False) as clock:
        first = uuid7()
        clock.shift(-back)
        assert uuid7() > first


def test_uuid7_forgets_a_future_from_which_the_clock_came_back() -> None:
    with time_machine.travel(2_000_000_000, tick=False):
        uuid7()
    with time_machine.travel(1_950_000_000, tick=False):
        assert uuid7().int >> 80 == 1_950_000_000_000
