"""The runs of one case. They are interleaved: every contestant once, then every contestant again,
so that slow periods of the machine affect all of them."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .arena import Arena, Contestant, Failed
from .cases import Case
from .measure import Figures
from .servers import Server

#: The fraction of the jobs in a quick run.
_QUICK = 5


@dataclasses.dataclass
class Line:
    """The results of one contestant: the figures of each run, and their medians."""

    contestant: Contestant
    jobs: int
    runs: list[Figures] = dataclasses.field(default_factory=list)
    failure: str = ""

    @property
    def medians(self) -> dict[str, float]:
        names = [name for name in self.runs[0] if name != "samples_ms"] if self.runs else []
        return {name: statistics.median(run[name] for run in self.runs) for name in names}

    @property
    def samples(self) -> list[float]:
        """The samples of all runs, sorted."""
        return sorted(each for run in self.runs for each in run.get("samples_ms", ()))


@dataclasses.dataclass
class Result:
    case: Case
    lines: list[Line]

    @property
    def failures(self) -> list[Line]:
        return [line for line in self.lines if line.failure]

    def ratio(self, line: Line, system: str) -> float | None:
        """Return this line's figure ÷ that of *system*, on the same database if it uses one."""
        figure = self.case.figure
        for other in self.lines:
            same = system == "celery" or (
                other.contestant.server is line.contestant.server
                and other.contestant.workers == line.contestant.workers
            )
            beside = same and other.contestant.system == system and other is not line
            if beside and other.medians.get(figure) and figure in line.medians:
                return line.medians[figure] / other.medians[figure]
        return None


def contestants(case: Case, servers: Sequence[Server], systems: Sequence[str]) -> list[Contestant]:
    """Return the contestants of *case* that are available and requested."""
    return [
        contestant
        for contestant in _all(case, servers)
        if contestant.system in systems and contestant.system in case.systems
    ]


def _all(case: Case, servers: Sequence[Server]) -> Iterator[Contestant]:
    databases = [each for each in servers if each.kind != "redis"]
    for database in databases:
        if database.kind in case.databases:
            yield from _on(database, case)
    for redis in servers:
        if redis.kind == "redis" and databases:
            yield Contestant("celery", redis, databases[0].url)


def _on(database: Server, case: Case) -> Iterator[Contestant]:
    usual = 1 if database.kind == "sqlite" else 2
    for workers in case.workers or (usual,):
        if database.kind in case.limits:
            yield Contestant("bare", database, database.url, workers)
        for pool in case.pools:
            processes = 1 if pool == "solo" else workers
            yield Contestant("django_jobs", database, database.url, processes, pool)


class Race:
    def __init__(
        self, case: Case, taking_part: Sequence[Contestant], folder: Path, *, jobs: int | None
    ) -> None:
        self.case = case
        self.folder = folder
        self.jobs = jobs
        self.taking_part = taking_part

    def run(self, runs: int, quick: bool) -> Result:
        """Measure every contestant *runs* times, interleaved."""
        lines = [Line(each, self._jobs(each, quick)) for each in self.taking_part]
        for _ in range(runs):
            for line in lines:
                if not line.failure:
                    self._measure(line)
        return Result(self.case, lines)

    def _measure(self, line: Line) -> None:
        sys.stderr.write(f"  {self.case.name}: {line.contestant.label}\n")
        try:
            line.runs.append(self.case.measure(Arena(line.contestant, self.folder), line.jobs))
        except Failed as error:
            line.failure = str(error)
            sys.stderr.write(f"  failed: {error}\n")

    def _jobs(self, contestant: Contestant, quick: bool) -> int:
        amounts = self.case.amount
        amount = amounts.get(contestant.system) or amounts[""]
        return self.jobs or (amount // _QUICK if quick else amount)
