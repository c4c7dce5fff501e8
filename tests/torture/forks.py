"""T9: children that are recycled after each few jobs; the database counts its sessions."""

from __future__ import annotations

import contextlib

from tests.torture import jobs
from tests.torture.checker import Evidence, Line, judge, limit
from tests.torture.servers import is_alive
from tests.torture.site import Site


def play(site: Site) -> list[Line]:
    number = site.pick(40, 1_000)
    worker = site.runworker("-c", "2", "--max-jobs-per-child", "4", "-l", "WARNING")
    site.wait_for_workers(2)
    seen: set[int] = set()
    most = 0
    for _ in range(number):
        site.enqueue_many(jobs.effect, [()] * 2)
        site.enqueue_many(jobs.quick, [(1,)] * 2)
    from django_jobs.models import Job

    while Job.objects.live().exists():
        seen |= set(worker.children())
        most = max(most, sessions(site))
    codes = site.stop_workers()
    # A server lists a session a moment longer than its process lives.
    with contextlib.suppress(TimeoutError):
        site.until(lambda: sessions(site) <= 1, "the sessions have ended", 30)
    after = sessions(site)
    evidence = Evidence(site.ledger)
    ran = {pid for story in evidence.stories.values() for _t, pid in story.starts}
    orphans = [pid for pid in seen | ran if is_alive(pid)]
    lines = judge(evidence, codes=codes, logs=[worker.log])
    lines += [
        Line("children", str(len(ran))),
        Line("orphans", str(len(orphans)), bool(orphans)),
        # Of each process one or two, of the coordinator, of the supervisor's helper, and this one.
        limit("sessions at most", most, 14),
        limit("sessions afterwards", after, 1),
    ]
    return lines


def sessions(site: Site) -> int:
    """Count the database's sessions; SQLite has none that outlive a process."""
    from django.db import connection

    queries = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    }
    if site.kind not in queries:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(queries[site.kind])
        return int(cursor.fetchone()[0])
