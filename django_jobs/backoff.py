"""Delays before the next try, in seconds."""

import random

#: Longest delay of a job that no worker could run.
LONGEST_DEFERRAL = 60.0


def exponential(
    tries: int, *, factor: float = 2.0, maximum: float = 600.0, jitter: bool = True
) -> float:
    """Return the seconds to wait after *tries* failed tries (0 is the first).

    ``factor * 2 ** tries``, at most *maximum*. With *jitter*, half of it is fixed and half random
    ("equal jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/):
    jobs that failed together are not retried together, and none is retried at once.
    """
    # 2.0 ** 1024 overflows.
    delay = min(maximum, factor * 2.0 ** min(tries, 64))
    return delay / 2 + random.uniform(0, delay / 2) if jitter else delay


def deferral(times: int) -> float:
    """Return the delay of a job that workers could not run and released *times* times before."""
    return min(2.0**times, LONGEST_DEFERRAL)
