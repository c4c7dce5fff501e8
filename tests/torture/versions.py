"""T19: the previous release beside this one, on one database that this one has migrated.

``TORTURE_BEFORE`` names the commit whose workers run beside these (by default the newest tag, or
twenty commits ago). The old code enqueues for the new one, and the new one for the old one.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests.torture.checker import Evidence, Line, judge
from tests.torture.kills import MIX
from tests.torture.site import ROOT, LeftOut, Site

#: The migrations are the old release's, then this one's, while its workers run.
MIGRATES = True


def play(site: Site) -> list[Line]:
    from django.core.management import call_command

    from tests.torture.checker import prepare

    before, old = previous(site)
    site.settings(LEASE_SECONDS=4, HEARTBEAT_SECONDS=1)
    old_environment = {"PYTHONPATH": f"{old}{os.pathsep}{ROOT}"}
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v", "0"],
        env={**site.environment, **old_environment}, cwd=old, check=True,
    )  # fmt: skip
    site.runworker("-c", "2", "-l", "WARNING", **old_environment)
    site.wait_for_workers(2)
    began = time.monotonic()
    call_command("migrate", verbosity=0)
    took = time.monotonic() - began
    prepare()
    site.keep_enqueuing(50, MIX)
    # The old release enqueues, too: rows without the columns that are new.
    script = (
        "import django; django.setup()\n"
        "from tests.torture import jobs, ledger\n"
        f"for n in range({site.pick(60, 2_000)}):\n"
        "    r = (jobs.quick.delay(n), jobs.effect.delay(), jobs.flaky.delay(1))[n % 3]\n"
        "    ledger.write('ack', id=str(r.id))\n"
    )
    enqueuing = subprocess.Popen(
        [sys.executable, "-c", script], cwd=old, env={**site.environment, **old_environment},
    )  # fmt: skip
    site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(4)
    for number in range(site.pick(6, 90)):
        time.sleep(1.0)
        site.kill_worker(number)
    code = enqueuing.wait()
    site.stop_enqueuing()
    site.wait_for_the_end()
    codes = [*site.stop_workers(), code]
    evidence = Evidence(site.ledger)
    ran = {pid for story in evidence.stories.values() for _t, pid in story.starts}
    reasons = [row[5].rpartition(".")[2] for row in evidence.rows.values()]
    odd = [reason for reason in reasons if reason not in ("", "WorkerLost")]
    return [
        *judge(evidence, codes=codes, logs=site.folder.glob("runworker-*.log")),
        Line("previous release", before),
        Line("migrations beside its workers", f"{took:.2f} s"),
        Line("processes that ran jobs", str(len(ran))),
        Line("failures without a cause", f"{len(odd)} {sorted(set(odd))}", bool(odd)),
    ]


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
