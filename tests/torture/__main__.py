"""``python -m tests.torture [options] [scenario ...]``: breaks things, prints what was found.

A full run plays each scenario on each database; a fast run deals most of them to one. Each is
played in a process of its own, with servers that this run starts in a temporary folder and may
crash. See ``--help`` and ``docs/reliability.rst``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.databases import say
from tests.postgresql import CannotStart as NoPostgreSQL
from tests.torture import watcher
from tests.torture.checker import WRONG
from tests.torture.play import BROKEN, LEFT_OUT
from tests.torture.servers import SECONDS as SERVER_SECONDS
from tests.torture.servers import SERVERS, CannotStart, Server
from tests.torture.shrink import shortest
from tests.written import written

#: Scenarios that are modules of their own, with how many seconds they take in a fast run.
ALONE = {
    "cron": 0, "inputs": 0, "beats": 6, "lag": 5, "workflows": 6, "limits": 6, "life": 0,
    "lost": 0, "fuzz": 5,
}  # fmt: skip
#: Scenarios that use no database.
PLAIN = ("cron", "inputs")
#: Scenarios with a ledger: see :mod:`tests.torture.play`.
PLAYED = (
    "claims", "kills", "signals", "zombies", "outages", "disk", "clocks", "forks", "poison",
    "pooler", "connections", "rollbacks", "versions", "standby", "patroni", "galera", "partition",
    "soak",
)  # fmt: skip
SCENARIOS = (*PLAYED, *ALONE)
#: A fast run plays these on each database, as what they show is in the SQL of each. It plays each
#: other scenario on one of them, and the seed decides in which order they are dealt.
EACH = ("kills", "zombies", "rollbacks")
_SERVED = ("postgresql", "mysql")
#: The databases of scenarios that need a server, or one server's companion.
DATABASES = {
    "outages": _SERVED, "forks": _SERVED, "clocks": _SERVED, "connections": _SERVED,
    "pooler": ("postgresql",),
}  # fmt: skip
#: Not in a fast run: the suite has short forms of ``life`` and ``lost``; clusters take long.
NOT_FAST = ("lag", "life", "lost", "standby", "patroni", "galera", "partition")
#: One word for several scenarios.
GROUPS = {"clusters": ("pooler", "standby", "patroni", "galera", "partition")}
#: Longest time of one scenario; it is stopped then, and has failed.
SECONDS = {True: 240.0, False: 4_500.0}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make torture ARGS='...'", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=", ".join((*GROUPS, *SCENARIOS))
    )
    parser.add_argument("--fast", action="store_true", help="a short form, within five minutes")
    parser.add_argument("--database", default=os.environ.get("DATABASES", ",".join(SERVERS)))
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args(arguments)
    kinds = [kind for kind in options.database.split(",") if kind]
    named = [each for name in options.scenarios for each in GROUPS.get(name, (name,))]
    for what, given, allowed in (
        ("scenario", named, SCENARIOS), ("database", kinds, tuple(SERVERS)),
    ):  # fmt: skip
        if unknown := set(given) - set(allowed):
            parser.error(f"unknown {what} {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    watcher.begin()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return Run(named, kinds, options.seed, fast=options.fast).play()
    except KeyboardInterrupt:
        say("Interrupted: all processes and servers were stopped.")
        return 130


class Played(NamedTuple):
    """The exit code of a scenario, None if it took too long, and what it wrote."""

    code: int | None
    output: str

    def why(self) -> str:
        """Return what it called wrong, or the end of what it wrote, in one line."""
        lines = [" ".join(line.split()) for line in self.output.splitlines() if line.strip()]
        return " | ".join([line for line in lines if WRONG in line] or lines[-3:])[:600]


class Run:
    def __init__(self, named: Sequence[str], kinds: Sequence[str], seed: int, *, fast: bool):
        self.kinds, self.seed, self.fast = kinds, seed, fast
        names = named or [name for name in SCENARIOS if not (fast and name in NOT_FAST)]
        dealt = set(SCENARIOS) - set(EACH) if fast and not named else set(PLAIN)
        #: Scenarios that one database plays for all.
        self.left = [name for name in names if name in dealt]
        random.Random(seed).shuffle(self.left)
        self.each = [name for name in names if name not in dealt]
        self.verdicts: list[str] = []
        #: One line for each scenario that failed. ``.ci/run`` repeats these lines at its end.
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self._taking = threading.Lock()

    def play(self) -> int:
        began = time.monotonic()
        threads: list[threading.Thread] = []
        for kind in self.kinds:
            threads.append(threading.Thread(target=self._on, args=(kind,), daemon=True))
            threads[-1].start()
            if not self.fast:  # figures of a full run are those of one database at a time
                threads[-1].join()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.stopping.set()
            for thread in threads:
                # The scenario is stopped first, then the server: see Server.end().
                thread.join(3 * SERVER_SECONDS)
            raise
        say("\n".join([
            f"=== torture, seed {self.seed}, {time.monotonic() - began:.0f} s ===", *self.verdicts,
            *self.not_played(), *self.failures,
        ]))  # fmt: skip
        return int(bool(self.failures) or not self.verdicts)

    def not_played(self) -> list[str]:
        """Return a line for each scenario that no server was there for."""
        return [f"{name:10} left out: no server that it needs has started" for name in self.left]

    def _on(self, kind: str) -> None:
        """Play all scenarios on one database."""
        with running(kind) as server:
            if server is None:
                self.verdicts.append(f"{kind}: left out, its server does not start (see above)")
                return
            for name in self._turns(kind):
                if self.stopping.is_set():
                    return
                try:
                    if name in ALONE:
                        self._alone(name, None if name in PLAIN else server)
                    else:
                        self._played(name, server)
                except Exception:
                    broken = Played(BROKEN, traceback.format_exc())
                    say(broken.output)
                    self._verdict(name, kind, broken)
                if told := server.death():
                    say(f"the {kind} server had ended by itself:\n{told}")
                    server.start()

    def _turns(self, kind: str) -> Iterator[str]:
        """Yield the scenarios of one database: its own, then those that are left for all."""
        yield from self.each
        while name := self._take(kind):
            yield name

    def _take(self, kind: str) -> str | None:
        with self._taking:
            name = next((name for name in self.left if kind in self._players(name)), None)
            if name is not None:
                self.left.remove(name)
        return name

    def _players(self, name: str) -> Collection[str]:
        """Return the databases of this run that can play a scenario; all, if none can."""
        able = set(DATABASES.get(name, self.kinds)) & set(self.kinds)
        return able or self.kinds

    def _verdict(self, name: str, kind: str, played: Played) -> None:
        word = {0: "held", LEFT_OUT: "left out (see above)", None: "FAILED: it did not end in time"}
        verdict = f"{name:10} {kind:10} {word.get(played.code, 'FAILED')}"
        self.verdicts.append(verdict)
        if played.code not in (0, LEFT_OUT):
            self.failures.append(f"  torture: {verdict}, seed {self.seed} - {played.why()}")

    def _alone(self, name: str, server: Server | None) -> None:
        kind = kind_of(server) if server else ""
        environment = {"SEED": str(self.seed)}
        if server is not None:
            environment["DATABASE_URL"] = server.make(f"torture_{name}")
        if self.fast:
            environment |= {"SECONDS": str(ALONE[name]), "EXPRESSIONS": "4", "INPUTS": "2000"}
            environment |= {"LIFE_EXAMPLES": "100", "LOST_EVERY": "5"}
        command = [sys.executable, "-m", f"tests.torture.{name}"]
        self._verdict(name, kind, self._process(f"{name} {kind}", command, environment))

    def _played(self, name: str, server: Server) -> None:
        kind = kind_of(server)
        with tempfile.TemporaryDirectory(prefix="torture-", dir="/tmp") as folder:
            played = self._once(name, server, Path(folder), None)
            faults = Path(folder, "faults.json")
            if played.code == 1 and faults.exists():
                self._shrink(name, server, json.loads(faults.read_text()))
        self._verdict(name, kind, played)

    def _shrink(self, name: str, server: Server, faults: list[list[object]]) -> None:
        def fails(some: list[list[object]]) -> bool:
            with tempfile.TemporaryDirectory(prefix="torture-", dir="/tmp") as folder:
                return self._once(name, server, Path(folder), some).code == 1

        found = shortest(faults, fails, tries=3 if self.fast else 12)
        say(
            f"Seed {self.seed}. The shortest schedule of faults that showed it: "
            + "; ".join(f"{at:.2f} s {kind} {which}" for at, kind, which in found)
            + f"\nTORTURE_FAULTS='{json.dumps(found)}' make torture ARGS='--seed {self.seed} "
            f"--database {kind_of(server)} {name}'"
        )

    def _once(
        self, name: str, server: Server, folder: Path, faults: list[list[object]] | None
    ) -> Played:
        environment = {
            "DATABASE_URL": server.make(f"torture_{name}"), "TORTURE_KIND": kind_of(server),
            "TORTURE_SERVER": str(server.folder), "TORTURE_FOLDER": str(folder),
            "TORTURE_LEDGER": str(folder / "ledger"), "TORTURE_SEED": str(self.seed),
            "TORTURE_FAST": "1" if self.fast else "",
        }  # fmt: skip
        if faults is not None:
            environment["TORTURE_FAULTS"] = json.dumps(faults)
        command = [sys.executable, "-m", "tests.torture.play", name]
        title = f"{name} {kind_of(server)}, seed {self.seed}"
        return self._process(title, command, environment)

    def _process(self, title: str, command: list[str], environment: dict[str, str]) -> Played:
        """Run *command* and print what it wrote."""
        output = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, process_group=0,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + SECONDS[self.fast]
        code = None
        try:
            while (code := process.poll()) is None:
                if self.stopping.is_set() or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        finally:
            # It cleans up when it is told to stop.
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                process.kill()
                process.wait()
            played = Played(code, written(output))
            say(f"=== {title} ===\n{played.output}")
        return played


@contextlib.contextmanager
def running(kind: str) -> Iterator[Server | None]:
    """Start a server of that *kind*; yield None if there is none here."""
    with tempfile.TemporaryDirectory(prefix="torture-", dir="/tmp") as folder:
        server = SERVERS[kind](Path(folder))
        try:
            server.install()
            server.start()
        except (CannotStart, NoPostgreSQL) as error:
            say(f"{kind}: {error}")
            yield None
            return
        try:
            yield server
        finally:
            server.stop()


def kind_of(server: Server) -> str:
    return next(kind for kind, each in SERVERS.items() if type(server) is each)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
