"""T8: hosts whose clocks are wrong by hours, or jump: only the database's clock counts.

Two workers run with their clocks an hour slow and two hours fast, by libfaketime if it is here
(Debian: faketime). No job may run before its time, no live worker may be rescued.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import LeftOut, Site

COUNTDOWN = 2.0


def play(site: Site) -> list[Line]:
    from django_jobs.models import Worker

    site.needs_server()
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None or shutil.which("faketime") is None:
        raise LeftOut("libfaketime is not here (Debian: apt install faketime)")
    site.settings(LEASE_SECONDS=4, HEARTBEAT_SECONDS=1)
    shift = site.folder / "clock"
    shift.write_text("+0")
    for offset in ("-1h", "+2h", None):
        environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # The third one's clock jumps: it reads the file again each second.
            **({"FAKETIME": offset} if offset else {
                "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_CACHE_DURATION": "1",
            }),
        }  # fmt: skip
        site.runworker("-c", "1", "-l", "WARNING", **environment)
    site.wait_for_workers(3)
    asked: dict[str, float] = {}
    for number in range(site.pick(4, 40)):
        shift.write_text(site.chance.choice(["+0", "-3h", "+5h", "+20s"]))
        for _ in range(5):
            result = jobs.quick.apply_async((number,), countdown=COUNTDOWN)
            ledger.write("ack", id=str(result.id))
            asked[str(result.id)] = time.monotonic()
            site.enqueue(jobs.quick, number)
        time.sleep(1.0)
    site.wait_for_the_end()
    lost = Worker.objects.filter(lost_at__isnull=False).count()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    early = [
        job_id
        for job_id, at in asked.items()
        if evidence.stories[job_id].starts
        and evidence.stories[job_id].starts[0][0] - at < COUNTDOWN
    ]
    lines = judge(evidence, codes=codes)
    return [*lines, bad("ran before its time", early), bad("rescued while they lived", range(lost))]
