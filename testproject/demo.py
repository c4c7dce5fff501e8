"""The whole demo in one terminal: ``python -m testproject.demo``.

It prepares the database, starts site, worker and beat as child processes, enqueues some jobs,
prints the addresses and waits. The processes log to a file, so that the addresses stay in sight.
Ctrl-C or SIGTERM stops everything. If one of the processes ends, the others are stopped.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import IO

import django

ROOT = Path(__file__).resolve().parent.parent
USER = PASSWORD = "admin"  # noqa: S105 (of a demo on this machine)
# More than a worker's grace period for its running jobs.
STOP_SECONDS = 40.0
PORTS_TO_TRY = 50
# Of the log, if a process ends.
LINES_SHOWN = 15


def main() -> int:
    """Run the demo until it is stopped; return the exit code."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    port = free_port(int(os.environ.get("PORT") or 8000))
    site = f"http://127.0.0.1:{port}"
    os.environ["SITE_URL"] = site
    stop = Stop()
    django.setup()
    say("demo: preparing …")
    prepare()
    children: dict[str, subprocess.Popen[bytes]] = {}
    log = log_file()
    try:
        with log.open("wb") as output:
            for name, arguments in commands(port).items():
                children[name] = start(arguments, output)
        seed()
        wait_for_site(port, children, stop)
        print_addresses(site, children, log)
        ended = wait(children, stop)
    finally:
        stop_all(children, stop)
    if ended:
        say("".join(last_lines(log)).rstrip())
        say(f"demo: {ended} has ended; everything else was stopped. Its log: {shown(log)}")
        return 1
    say("demo: stopped.")
    return 0


class Stop:
    """The first signal to stop sets ``asked``, a second one ``again``."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.again = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        (self.again if self.asked.is_set() else self.asked).set()


# --- before the processes start ------------------------------------------------------------------


def free_port(wanted: int) -> int:
    """Return *wanted* or the next free port."""
    for port in range(wanted, wanted + PORTS_TO_TRY):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit(f"demo: ports {wanted} to {port} are all in use; set PORT to another one")


def log_file() -> Path:
    """Return the file that gets what the processes print; an earlier demo's is overwritten."""
    from django.conf import settings

    folder: Path = settings.DEMO_DIR
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "demo.log"


def last_lines(log: Path) -> list[str]:
    with log.open(errors="replace") as lines:
        return list(deque(lines, LINES_SHOWN))


def shown(path: Path) -> str:
    """Return the path as one types it from the project's folder."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def prepare() -> None:
    """Create the tables and the superuser, and close the connection."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if not users.filter(username=USER).exists():
        users.create_superuser(USER, "admin@example.com", PASSWORD)
    connection.close()


def commands(port: int) -> dict[str, list[str]]:
    from django.core.management import get_commands

    found = {
        "site": ["runserver", "--noreload", f"127.0.0.1:{port}"],
        "worker": ["runworker", "--concurrency", "2", "--loglevel", "INFO"],
        "beat": ["runbeat"],
    }
    known = get_commands()
    return {name: arguments for name, arguments in found.items() if arguments[0] in known}


def seed() -> None:
    """Enqueue the first jobs for the pages; one of them fails and one retries."""
    from django.core.files.base import ContentFile
    from django.db import connection

    from .airports.models import ImportRun
    from .airports.views import enqueue_import
    from .gallery.jobs import add_pictures, draw_samples
    from .gallery.models import Picture
    from .gallery.samples import damaged

    draw_samples.delay(1, 12)
    if not Picture.objects.filter(sample=0).exists():
        broken = Picture(title="A damaged upload", sample=0)
        broken.original.save("damaged.jpg", ContentFile(damaged()), save=False)
        add_pictures([broken])
    if not ImportRun.objects.exists():
        enqueue_import()
    send_first_mail()
    add_schedules()
    connection.close()


def add_schedules() -> None:
    """Add a schedule that runs every minute, and one that runs each night."""
    from django_jobs.models import Schedule

    from .accounts.jobs import count_accounts, remove_unconfirmed

    times = {
        count_accounts.name: {"kind": "interval", "interval_seconds": 60.0},
        remove_unconfirmed.name: {"kind": "crontab", "crontab": "0 3 * * *"},
    }
    for job_name, fields in times.items():
        name = job_name.rpartition(".")[2].replace("_", " ").capitalize()
        Schedule.objects.get_or_create(name=name, defaults={"job_name": job_name, **fields})


def send_first_mail() -> None:
    from .accounts.forms import SignUpForm
    from .accounts.views import register

    form = SignUpForm(
        {
            "username": "ada",
            "email": "ada@example.com",
            "password1": "a-demo-password-1",
            "password2": "a-demo-password-1",
        }
    )
    # Not valid if an earlier run of the demo created this user.
    if form.is_valid():
        register(form)


def wait_for_site(port: int, children: Mapping[str, subprocess.Popen[bytes]], stop: Stop) -> None:
    """Wait until the site answers, or until a child has ended."""
    while all(child.poll() is None for child in children.values()):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if stop.asked.wait(0.1):
            return


def print_addresses(site: str, children: Mapping[str, subprocess.Popen[bytes]], log: Path) -> None:
    running = [f"{name} (pid {child.pid})" for name, child in children.items()]
    lines = [
        "",
        f"  The site     {site}/",
        f"  The admin    {site}/admin/    user {USER}, password {PASSWORD}",
        f"  Dashboard    {site}/admin/django_jobs/dashboard/",
        f"  Running      {', '.join(running)}",
        f"  Their log    tail -f {shown(log)}",
        "  Stop         Ctrl-C",
        "",
    ]
    say("\n".join(lines))


def status_line() -> str:
    """Return how many jobs there are of each status."""
    from django.db.models import Count

    from django_jobs import Status
    from django_jobs.models import Job

    counts = dict(Job.objects.values_list("status").annotate(Count("id")))
    texts = [f"{counts[status]} {status.label}" for status in Status if status in counts]
    return f"  Jobs         {', '.join(texts)}"


def show_status() -> None:
    """Write the status over the last one, where a person looks on."""
    from django.db import DatabaseError, connection

    if not sys.stdout.isatty():
        return
    with contextlib.suppress(OSError, DatabaseError):
        sys.stdout.write(f"\r\x1b[K{status_line()}")
        sys.stdout.flush()
    connection.close()


def say(text: str) -> None:
    # The terminal or the reader of the pipe may be gone; the demo must still stop its children.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


# --- the processes ------------------------------------------------------------------------------


def start(arguments: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    # In its own process group, a child does not get the terminal's Ctrl-C; this process sends it
    # one signal. A second signal would stop the worker before its jobs have finished.
    return subprocess.Popen(  # noqa: S603 (the commands above)
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        process_group=0,
    )


def wait(children: Mapping[str, subprocess.Popen[bytes]], stop: Stop) -> str:
    """Wait for a signal to stop or the end of a child; return the name of that child."""
    rounds = 0
    while not stop.asked.wait(0.2):
        rounds += 1
        if rounds % 5 == 0:
            show_status()
        for name, child in children.items():
            if child.poll() is not None:
                return f"{name} (exit code {child.returncode})"
    return ""


def stop_all(children: Mapping[str, subprocess.Popen[bytes]], stop: Stop) -> None:
    """Terminate every child, wait, and kill the processes that are left."""
    say("\ndemo: stopping …")
    for child in children.values():
        child.terminate()
    waited = 0.0
    while any(child.poll() is None for child in children.values()) and waited < STOP_SECONDS:
        waited += 0.1
        if stop.again.wait(0.1):
            stop.again.clear()
            for child in children.values():
                child.terminate()
    for child in children.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    sys.exit(main())
