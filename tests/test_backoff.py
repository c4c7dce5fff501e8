import pytest

from django_jobs.backoff import exponential

pytestmark = pytest.mark.once


def test_exponential_doubles_from_the_factor() -> None:
    waits = [exponential(tries, factor=0.5, jitter=False) for tries in range(4)]
    assert waits == [0.5, 1, 2, 4]


def test_exponential_has_a_maximum_however_many_tries() -> None:
    assert exponential(10, jitter=False) == 600
    assert exponential(5_000, maximum=7, jitter=False) == 7


@pytest.mark.parametrize("tries", [0, 3, 50])
def test_exponential_jitter_keeps_half(tries: int) -> None:
    full = exponential(tries, jitter=False)
    waits = [exponential(tries) for _ in range(300)]
    assert all(full / 2 <= wait <= full for wait in waits)
    # The random half is used, in all its width.
    assert max(waits) - min(waits) > full / 4
