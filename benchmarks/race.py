"""The runs of one case. They are interleaved: every contestant once, then every contestant again,
so that slow periods of the machine affect all of them."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .arena import Arena, Contestant, Failed
from .cases import FIRST, Case
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
        names = [
            name for name in (self.runs[0] if self.runs else ())
            if name != "samples_ms" and all(name in run for run in self.runs)
        ]  # fmt: skip
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

    def ratio(self, line: Line, reference: str, figure: str = "") -> float | None:
        """Return this line's figure ÷ that of *reference*: a system, or the first line."""
        figure = figure or self.case.figure
        other = self._reference(line, reference)
        if other is None or not other.medians.get(figure) or figure not in line.medians:
            return None
        return line.medians[figure] / other.medians[figure]

    def _reference(self, line: Line, reference: str) -> Line | None:
        """Return the line to compare with: bare SQL on the same database, Celery anywhere."""
        if reference == FIRST:
            return self.lines[0] if line is not self.lines[0] else None
        found = [
            other for other in self.lines
            if other.contestant.system == reference != line.contestant.system
            and (reference != "bare" or other.contestant.server is line.contestant.server)
        ]  # fmt: skip
        equal = [each for each in found if each.contestant.workers == line.contestant.workers]
        # Celery has two workers where SQLite has one.
        others = found if reference == "celery" else []
        return next(iter(equal or others), None)


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
            for workers in case.workers or (2,):
                yield Contestant("celery", redis, databases[0].url, workers)


def _on(database: Server, case: Case) -> Iterator[Contestant]:
    usual = 1 if database.kind == "sqlite" else 2
    for workers in case.workers or (usual,):
        if database.kind in case.limits:
            yield Contestant("bare", database, database.url, workers)
        for pool in case.pools:
            if pool.missing:
                continue
            processes = 1 if pool.name == "solo" else workers
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
        amount = contestant.pool.jobs or amounts.get(contestant.system) or amounts[""]
        return self.jobs or (amount // _QUICK if quick else amount)
