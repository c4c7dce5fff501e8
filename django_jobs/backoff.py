"""How long to wait before the next try."""

import random

#: Most seconds that a job waits which a worker gave back, as it cannot run it.
LONGEST_DEFERRAL = 60.0


def exponential(
    tries: int, *, factor: float = 2.0, maximum: float = 600.0, jitter: bool = True
) -> float:
    """Return the seconds to wait after *tries* failed tries (0 is the first).

    ``factor * 2 ** tries``, at most *maximum*. With *jitter* half of it is fixed and half random
    ("equal jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    so that jobs that failed together do not come back together, and never at once.
    """
    # 2.0 ** 1024 overflows; long before that the maximum holds.
    delay = min(maximum, factor * 2.0 ** min(tries, 64))
    return delay / 2 + random.uniform(0, delay / 2) if jitter else delay


def deferral(times: int) -> float:
    """Return the seconds that a job waits which workers gave back so many *times* before."""
    return min(2.0**times, LONGEST_DEFERRAL)
