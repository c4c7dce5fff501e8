"""``python -m tests.torture [scenario ...]``: runs them on each database, prints what was found.

The databases are chosen as for :mod:`tests.databases`. A scenario is a module of this package that
is run in a process of its own and ends with 0 when all is well.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.databases import KINDS, say, server

#: Scenarios that use no database.
PLAIN = ("cron",)
#: Scenarios that are run once for each database.
SCENARIOS = ("beats", "lag", "workflows", "limits")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - {*PLAIN, *SCENARIOS}
    if unknown:
        say(f"unknown scenario {', '.join(unknown)}; allowed: {', '.join((*PLAIN, *SCENARIOS))}")
        return 2
    failed = 0
    for name in PLAIN:
        if not wanted or name in wanted:
            failed |= run(name, {})
    kinds = os.environ.get("DATABASES", ",".join(KINDS)).split(",")
    for name in SCENARIOS:
        for kind in kinds if not wanted or name in wanted else ():
            with server(kind) as url:
                if url is None:
                    say(f"{name}: MariaDB, MySQL left out, set MYSQL_URL to test one")
                else:
                    failed |= run(name, {"DATABASE_URL": url})
    return failed


def run(name: str, environment: dict[str, str]) -> int:
    say(f"=== {name} {environment.get('DATABASE_URL', '').partition(':')[0]} ===")
    command = [sys.executable, "-m", f"tests.torture.{name}"]
    return int(
        subprocess.run(command, env={**os.environ, **environment}, check=False).returncode != 0
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
