"""``python -m benchmarks``: measures, prints a table, writes it with JSON and plots."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import report
from .cases import CASES, Case
from .machine import facts
from .race import Race, contestants
from .redis_server import open_redis
from .servers import LeftOut, Server, server

DATABASES = ("postgresql", "mysql", "sqlite")
SYSTEMS = ("bare", "django_jobs", "celery")


def main(arguments: list[str]) -> int:
    """Run the chosen cases; return 1 if a measurement failed, 2 if nothing was measured."""
    given = parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # However this process ends, the workers stop and the databases are dropped.
        signal.signal(number, lambda *_: sys.exit(1))
    os.environ["BENCHMARK_BATCH"] = str(given.batch)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers, left_out = open_servers(given, folder, stack)
        limit = f"Bare SQL in batches of {given.batch}"
        left_out += sorted({pool.missing for case in chosen(given) for pool in case.pools} - {""})
        machine = facts([*(each.facts() for each in servers), limit])
        say("\n".join([*machine, *left_out]))
        results = []
        for case in chosen(given):
            taking_part = contestants(case, servers, given.systems)
            if not taking_part:
                left_out.append(f"{case.name}: left out, no server for it is here")
                continue
            race = Race(case, taking_part, folder, jobs=given.jobs)
            say(case.title)
            results.append(race.run(1 if case.once or given.quick else given.runs, given.quick))
            say(report.table(results[-1]))
    if not results:
        say("\n".join(["Nothing was measured.", *left_out]))
        return 2
    report.write(given.out, machine, left_out, results)
    say(f"Written to {given.out}/")
    return int(any(result.failures for result in results))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    names = [case.name for case in CASES]
    add("--quick", action="store_true", help="a fifth of the jobs, each measured once")
    add("--cases", type=_some(names), help=f"of {','.join(names)}")
    add("--big", action="store_true", help="the cases too that take many minutes: history, held")
    add("--systems", type=_some(SYSTEMS), default=list(SYSTEMS), help=f"of {','.join(SYSTEMS)}")
    add("--databases", type=_some(DATABASES), default=list(DATABASES),
        help=f"of {','.join(DATABASES)}")  # fmt: skip
    add("--runs", type=int, default=3, help="runs whose median counts; default: %(default)s")
    add("--jobs", type=int, help="jobs of each measurement; default: the case's own")
    add("--batch", type=int, default=50, help="batch of the bare SQL; default: %(default)s")
    add("--out", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    return parser.parse_args(arguments)


def chosen(given: argparse.Namespace) -> list[Case]:
    if given.cases is None:
        return [case for case in CASES if given.big or not case.optional]
    return [case for case in CASES if case.name in given.cases]


def open_servers(
    given: argparse.Namespace, folder: Path, stack: contextlib.ExitStack
) -> tuple[list[Server], list[str]]:
    """Return the available servers, and the reasons for those that are left out."""
    servers: list[Server] = []
    left_out = []
    for kind in given.databases:
        try:
            servers.append(stack.enter_context(server(kind, folder)))
        except LeftOut as reason:
            left_out.append(str(reason))
    if "celery" in given.systems:
        try:
            servers.append(stack.enter_context(open_redis(folder)))
        except LeftOut as reason:
            left_out.append(str(reason))
    return servers, left_out


def _some(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        given = [name for name in text.split(",") if name]
        if unknown := [name for name in given if name not in allowed]:
            raise argparse.ArgumentTypeError(
                f"got {', '.join(unknown)}; allowed: {', '.join(allowed)}"
            )
        return given

    return names


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
