"""``python -m benchmarks``: measures, prints a table, writes it with JSON and plots."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import page, peer_race, report
from .arena import Contestant
from .cases import CASES, Case
from .machine import facts
from .peer_catalog import PEERS
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
        left_out += sorted({pool.missing for case in chosen(given) for pool in case.pools} - {""})
        limit = f"Bare SQL in batches of {given.batch}"
        machine = facts([*(each.facts() for each in servers), limit])
        say("\n".join([*machine, *left_out]))
        results = []
        for case, taking_part in races(given, servers, left_out, stack):
            say(case.title)
            race = Race(case, taking_part, folder, jobs=given.jobs)
            results.append(race.run(1 if case.once or given.quick else given.runs, given.quick))
            say(report.table(results[-1]))
    if not results:
        say("\n".join(["Nothing was measured.", *left_out]))
        return 2
    report.write(given.out, machine, left_out, results)
    if given.page:
        page.write(page.FOLDER, machine, left_out, results)
    say(f"Written to {given.out}/")
    return int(any(result.failures for result in results))


def races(
    given: argparse.Namespace,
    servers: list[Server],
    left_out: list[str],
    stack: contextlib.ExitStack,
) -> Iterator[tuple[Case, list[Contestant]]]:
    """Yield each case with those who take part; note the cases and the peers without any."""
    if given.what == "peers":
        known = len(left_out)
        found = peer_race.contestants(servers, given.systems, given.environments, left_out, stack)
        taking_part = list(found)
        say("\n".join(left_out[known:]))
        yield peer_race.CASE, taking_part
        if len(durable := peer_race.with_steps(taking_part)) > 1:
            yield peer_race.STEPS, durable
        return
    for case in chosen(given):
        taking_part = contestants(case, servers, given.systems)
        if taking_part:
            yield case, taking_part
        else:
            left_out.append(f"{case.name}: left out, no server for it is here")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    names = [case.name for case in CASES]
    systems = [*SYSTEMS, *(peer.name for peer in PEERS if peer.name not in SYSTEMS)]
    add(
        "what", nargs="?", choices=["peers"], help="measure other job queues beside; see the README"
    )
    add("--quick", action="store_true", help="a fifth of the jobs, each measured once")
    add("--cases", type=_some(names), help=f"of {','.join(names)}")
    add("--big", action="store_true", help="the cases too that take many minutes: history, held")
    add("--systems", type=_some(systems), default=systems, help=f"of {','.join(systems)}")
    add("--databases", type=_some(DATABASES), default=list(DATABASES),
        help=f"of {','.join(DATABASES)}")  # fmt: skip
    add("--runs", type=int, default=3, help="runs whose median counts; default: %(default)s")
    add("--jobs", type=int, help="jobs of each measurement; default: the case's own")
    add("--batch", type=int, default=50, help="batch of the bare SQL; default: %(default)s")
    add("--out", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    add("--page", action="store_true", help="renew the figures of the documentation: docs/measured")
    add("--environments", type=Path, default=Path(".venv-peers").resolve(),
        help="folder of the peers' environments; default: %(default)s")  # fmt: skip
    return parser.parse_args(arguments)


def chosen(given: argparse.Namespace) -> list[Case]:
    if given.what == "peers":
        return []
    if given.cases is None:
        return [case for case in CASES if given.big or not case.optional]
    return [case for case in CASES if case.name in given.cases]


def open_servers(
    given: argparse.Namespace, folder: Path, stack: contextlib.ExitStack
) -> tuple[list[Server], list[str]]:
    """Return the available servers, and the reasons for those that are left out."""
    servers: list[Server] = []
    left_out = []
    for kind in ("postgresql",) if given.what == "peers" else given.databases:
        try:
            servers.append(stack.enter_context(server(kind, folder)))
        except LeftOut as reason:
            left_out.append(str(reason))
    if given.what == "peers" or "celery" in given.systems:
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
