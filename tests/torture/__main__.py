"""``python -m tests.torture [options] [scenario ...]``: breaks things, prints what was found.

Each scenario is played on each database, in a process of its own, with servers that this run starts
in a temporary folder and may crash. See ``--help`` and ``docs/reliability.rst``.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.databases import say
from tests.postgresql import CannotStart as NoPostgreSQL
from tests.torture.play import BROKEN, LEFT_OUT
from tests.torture.servers import SECONDS as SERVER_SECONDS
from tests.torture.servers import SERVERS, CannotStart, Server
from tests.torture.shrink import shortest
from tests.written import written

#: Scenarios that are modules of their own, with how many seconds they take in a fast run.
ALONE = {
    "cron": 0, "inputs": 0, "beats": 10, "lag": 5, "workflows": 8, "limits": 8, "life": 0,
    "lost": 0, "fuzz": 10,
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
#: In a fast run each of these is played on one database, which the seed chooses: they are about
#: processes more than about rows.
ONCE = ("signals", "clocks", "forks", "poison")
#: Not in a fast run: the suite has short forms of ``life`` and ``lost``; clusters take long.
NOT_FAST = ("lag", "life", "lost", "standby", "patroni", "galera", "partition")
#: One word for several scenarios.
GROUPS = {"clusters": ("pooler", "standby", "patroni", "galera", "partition")}
#: What is worth most in a minute, for a change that must pass.
SHORTEST = ("kills", "rollbacks")
#: Longest time of one scenario; it is stopped then, and has failed.
SECONDS = {True: 240.0, False: 4_500.0}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make torture ARGS='...'", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=", ".join((*GROUPS, *SCENARIOS))
    )
    parser.add_argument("--fast", action="store_true", help="a short form, within five minutes")
    parser.add_argument(
        "--shortest", action="store_true", help=f"within a minute: {', '.join(SHORTEST)}"
    )
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
    fast = options.fast or options.shortest
    names = named or (
        SHORTEST if options.shortest else [n for n in SCENARIOS if not (fast and n in NOT_FAST)]
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return Run(names, kinds, options.seed, fast=fast).play()
    except KeyboardInterrupt:
        say("Interrupted: all processes and servers were stopped.")
        return 130


class Run:
    def __init__(self, names: Sequence[str], kinds: Sequence[str], seed: int, *, fast: bool):
        self.names, self.kinds, self.seed, self.fast = names, kinds, seed, fast
        chance = random.Random(seed)
        servers = [kind for kind in self.kinds if kind != "sqlite"] or self.kinds
        #: The database of a scenario that is played on one only.
        self.places = {
            name: chance.choice(list(servers if name == "clocks" else self.kinds))
            for name in ONCE
            if fast and len(names) > 1
        }
        self.verdicts: list[str] = []
        self.failed = False
        self.stopping = threading.Event()

    def play(self) -> int:
        began = time.monotonic()
        for name in self.names:
            if name in PLAIN:
                self._alone(name, None)
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
        ]))  # fmt: skip
        return int(self.failed or not self.verdicts)

    def _on(self, kind: str) -> None:
        """Play all scenarios on one database."""
        with running(kind) as server:
            if server is None:
                self.verdicts.append(f"{kind}: left out, its server does not start (see above)")
                return
            for name in self.names:
                if self.stopping.is_set():
                    return
                if self.places.get(name, kind) != kind:
                    continue
                try:
                    if name in ALONE and name not in PLAIN:
                        self._alone(name, server)
                    elif name in PLAYED:
                        self._played(name, server)
                except Exception:
                    say(traceback.format_exc())
                    self._verdict(name, kind, BROKEN)
                if told := server.death():
                    say(f"the {kind} server had ended by itself:\n{told}")
                    server.start()

    def _verdict(self, name: str, kind: str, code: int | None) -> None:
        word = {0: "held", LEFT_OUT: "left out (see above)", None: "FAILED: it did not end in time"}
        self.verdicts.append(f"{name:10} {kind:10} {word.get(code, 'FAILED')}")
        self.failed |= code not in (0, LEFT_OUT)

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
            code = self._once(name, server, Path(folder), None)
            faults = Path(folder, "faults.json")
            if code == 1 and faults.exists():
                self._shrink(name, server, json.loads(faults.read_text()))
        self._verdict(name, kind, code)

    def _shrink(self, name: str, server: Server, faults: list[list[object]]) -> None:
        def fails(some: list[list[object]]) -> bool:
            with tempfile.TemporaryDirectory(prefix="torture-", dir="/tmp") as folder:
                return self._once(name, server, Path(folder), some) == 1

        found = shortest(faults, fails, tries=3 if self.fast else 12)
        say(
            f"Seed {self.seed}. The shortest schedule of faults that showed it: "
            + "; ".join(f"{at:.2f} s {kind} {which}" for at, kind, which in found)
            + f"\nTORTURE_FAULTS='{json.dumps(found)}' make torture ARGS='--seed {self.seed} "
            f"--database {kind_of(server)} {name}'"
        )

    def _once(
        self, name: str, server: Server, folder: Path, faults: list[list[object]] | None
    ) -> int | None:
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

    def _process(self, title: str, command: list[str], environment: dict[str, str]) -> int | None:
        """Run *command*, print what it wrote; return its exit code, or None if it took too long."""
        output = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, process_group=0,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + SECONDS[self.fast]
        try:
            while process.poll() is None:
                if self.stopping.is_set() or time.monotonic() > deadline:
                    return None
                time.sleep(0.05)
            return process.returncode
        finally:
            # It cleans up when it is told to stop.
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                process.kill()
                process.wait()
            say(f"=== {title} ===\n{written(output)}")


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
