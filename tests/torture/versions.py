"""T19: the previous release beside this one, on one database that this one has migrated.

``TORTURE_BEFORE`` names the commit whose workers run beside these (by default the newest tag, or
twenty commits ago). With jobs of every kind in flight the old release hands over to this one, and
this one to the old one, as after a rollback. Then both run and enqueue, and processes are killed.
"""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests.torture import features, in_flight
from tests.torture.checker import Evidence, Line, bad, judge, limit, make_tables
from tests.torture.kills import MIX
from tests.torture.site import ROOT, LeftOut, Runworker, Site
from tests.torture.ticks import Ticks, stop_schedules

#: The migrations are the old release's, then this one's, while its workers run.
MIGRATES = True

#: Prints how long its longest call took, in seconds.
ENQUEUE = """
import time
import django; django.setup()
from tests.torture import jobs, ledger
longest = 0.0
while not __import__("os").path.exists({until!r}):
    for function, args in ((jobs.quick, (1,)), (jobs.effect, ()), (jobs.flaky, (1,))):
        began = time.monotonic()
        result = function.delay(*args)
        longest = max(longest, time.monotonic() - began)
        ledger.write("ack", id=str(result.id))
        time.sleep(0.02)
print(longest)
"""


@dataclasses.dataclass
class Release:
    """A release of the package: where its code is."""

    site: Site
    name: str
    folder: Path

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"}

    def run(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, check=True,
            env={**self.site.environment, **self._environment()},
        )  # fmt: skip

    def start(self, script: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-c", script], cwd=self.folder, text=True, stdout=subprocess.PIPE,
            env={**self.site.environment, **self._environment()},
        )  # fmt: skip
        self.site.programs.append(program)
        return program

    def runworker(self) -> Runworker:
        arguments = ("-c", "2", "--beat", "-l", "WARNING")
        return self.site.runworker(*arguments, **self._environment())


def play(site: Site) -> list[Line]:
    before, folder = previous(site)
    old, new = Release(site, before, folder), Release(site, "this one", ROOT)
    site.settings(LEASE_SECONDS=4, HEARTBEAT_SECONDS=1)
    old.run("-m", "django", "migrate", "-v", "0")
    make_tables()
    lines, codes = deploy(site, old, new)
    codes += roll_back(site, new, old)
    codes += side_by_side(site, old, new)
    stop_schedules()
    site.wait_for_the_end(site.pick(120, 600))
    codes += site.stop_workers()
    evidence = Evidence(site.ledger)
    ticks = Ticks()
    ticks.note()
    reasons = [row[5].rpartition(".")[2] for row in evidence.rows.values()]
    odd = [reason for reason in reasons if reason not in ("", "WorkerLost")]
    return [
        *judge(evidence, codes=codes, logs=site.folder.glob("runworker-*.log")),
        Line("previous release", before),
        Line("kinds in flight at each handover", str(len(in_flight.KINDS))),
        *lines,
        *ticks.lines(),
        bad("failures without a cause", odd),
    ]


def deploy(site: Site, old: Release, new: Release) -> tuple[list[Line], list[int]]:
    """Migrate beside the old release, which enqueues and runs; the new one gets its jobs."""
    from django.core.management import call_command

    from tests.torture.checker import follow

    worker = old.runworker()
    site.wait_for_workers(2)
    done = site.folder / "migrated"
    enqueuing = old.start(ENQUEUE.format(until=str(done)))
    site.until(lambda: site.ledger.exists(), "the old release enqueues")
    began = time.monotonic()
    call_command("migrate", verbosity=0)
    took = time.monotonic() - began
    follow()
    done.touch()
    longest = float(enqueuing.communicate()[0])
    code = hand_over(site, old, worker)
    new.runworker()
    wait_for_the_others(site)
    most = 1.0 if not site.is_fast else 30.0
    return [
        Line("migrations beside its workers", f"{took:.2f} s"),
        limit("longest call meanwhile", longest, most, " s"),
    ], [code, enqueuing.returncode]


def roll_back(site: Site, new: Release, old: Release) -> list[int]:
    """Hand the jobs of the new release over to the old one."""
    code = hand_over(site, new, site.runworkers[-1])
    old.runworker()
    wait_for_the_others(site)
    return [code]


def wait_for_the_others(site: Site) -> None:
    """Wait until each job has ended but those of schedules, which fire on."""
    from django_jobs.models import Job

    live = Job.objects.live().filter(schedule_id=None)
    try:
        site.until(lambda: not live.exists(), "the other release has ended the jobs")
    except TimeoutError as error:
        raise TimeoutError(f"{error}, but {sorted(in_flight.states())}") from None


def hand_over(site: Site, release: Release, worker: Runworker) -> int:
    """Bring jobs of each kind in flight and stop the worker; return its exit code."""
    features.released().unlink(missing_ok=True)
    release.run("-m", "tests.torture.in_flight")

    def are_there() -> bool:
        if worker.process.poll() is not None:
            raise TimeoutError(f"the worker of {release.name} ended")
        return in_flight.are_there()

    try:
        site.until(are_there, "jobs of each kind are in flight")
    except TimeoutError as error:
        missing = sorted(set(in_flight.KINDS.items()) - in_flight.states())
        raise TimeoutError(f"{error}: {missing} of {release.name}") from None
    features.released().touch()
    code = worker.stop()
    site.runworkers.remove(worker)
    in_flight.release()
    return code


def side_by_side(site: Site, old: Release, new: Release) -> list[int]:
    done = site.folder / "done"
    new.runworker()
    site.wait_for_workers(4)
    enqueuing = old.start(ENQUEUE.format(until=str(done)))
    site.keep_enqueuing(50, MIX)
    for number in range(site.pick(4, 90)):
        time.sleep(1.0)
        site.kill_worker(number)
    done.touch()
    enqueuing.communicate()
    site.stop_enqueuing()
    return [enqueuing.returncode]


def previous(site: Site) -> tuple[str, Path]:
    """Lay the previous release out in a folder; return its commit and the folder."""
    if not Path(ROOT, ".git").exists():
        raise LeftOut("this is no checkout of git, which has the previous release")

    def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)

    tag = git("describe", "--tags", "--abbrev=0", "HEAD^").stdout.decode().strip()
    before = os.environ.get("TORTURE_BEFORE") or tag or "HEAD~20"
    packed = git("archive", before, "django_jobs")
    if packed.returncode:
        raise LeftOut(f"git has no {before}: {packed.stderr.decode().strip()}")
    folder = site.folder / "previous"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return git("log", "-1", "--format=%h %cs", before).stdout.decode().strip(), folder
