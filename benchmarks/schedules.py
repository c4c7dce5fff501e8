"""The jobs of paced measurements, with their times."""

import random
from typing import NamedTuple

#: The first jobs of a paced measurement warm the worker up and are not counted.
WARMING = 25


class Sent(NamedTuple):
    """A job to send: the seconds after the start, the job function, the further arguments."""

    at: float
    function: str
    arguments: tuple[float, ...] = ()


def idle(jobs: int) -> list[Sent]:
    """One job every 20 ms, so that a worker is always idle."""
    return [Sent(number * 0.02, "note") for number in range(WARMING + jobs)]


def single(jobs: int) -> list[Sent]:
    """One job every 100 ms, so that many workers are idle again."""
    return [Sent(number * 0.1, "note") for number in range(WARMING + jobs)]


def half_load(jobs: int) -> list[Sent]:
    """Jobs of 10 ms at random times, 100 a second: two slots are busy half of the time."""
    chance = random.Random(1)
    sent, at = [], 0.0
    for _ in range(WARMING + jobs):
        at += chance.expovariate(100)
        sent.append(Sent(at, "sleep", (0.01,)))
    return sent


def mix(seconds: int) -> list[Sent]:
    """Each second 100 jobs of 1 ms and 5 of 100 ms, at random; every 8 s one of 5 s."""
    chance = random.Random(2)
    sent = [Sent(number * 0.02, "sleep", (0.001,)) for number in range(WARMING)]
    for each, length in ((100, 0.001), (5, 0.1)):
        sent += [
            Sent(1 + chance.uniform(0, seconds), "sleep", (length,)) for _ in range(each * seconds)
        ]
    sent += [Sent(2.0 + start, "sleep", (5.0,)) for start in range(0, seconds, 8)]
    return sent[:WARMING] + sorted(sent[WARMING:])


SCHEDULES = {"idle": idle, "single": single, "half_load": half_load, "mix": mix}
