"""T20: business transactions that enqueue and then roll back at random: both exist, or neither."""

from __future__ import annotations

import uuid

from tests.torture import jobs, ledger
from tests.torture.checker import Evidence, Line, bad, judge
from tests.torture.site import Site


class Oops(Exception): ...


def play(site: Site) -> list[Line]:
    from django.db import connection, transaction

    from django_jobs import chain, group

    number = site.pick(400, 10_000)
    site.runworker("-c", "2", "-l", "WARNING")
    site.wait_for_workers(2)
    rolled_back = 0
    for _ in range(number):
        job_ids: list[str] = []
        try:
            with transaction.atomic():
                match site.chance.randrange(4):
                    case 0:
                        job_ids.append(str(jobs.quick.delay(1).id))
                    case 1:
                        job_ids += [str(r.id) for r in jobs.quick.delay_many([(1,), (2,)])]
                    case 2:
                        result = chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
                        job_ids.append(str(result.id))
                    case _:
                        result = chain(group(jobs.add.s(1), jobs.add.s(2)), jobs.add.s())()
                        job_ids.append(str(result.id))
                with connection.cursor() as cursor:
                    for job_id in job_ids:
                        cursor.execute("INSERT INTO torture_orders (job_id) VALUES (%s)", [job_id])
                if site.chance.random() < 0.1:
                    inner_rollback(str(uuid.uuid4()))
                if site.chance.random() < 0.5:
                    raise Oops
        except Oops:
            rolled_back += 1
        else:
            for job_id in job_ids:
                ledger.write("ack", id=job_id)
    site.wait_for_the_end()
    codes = site.stop_workers()
    evidence = Evidence(site.ledger)
    with connection.cursor() as cursor:
        cursor.execute("SELECT job_id FROM torture_orders")
        orders = {row[0] for row in cursor.fetchall()}
    names = {jobs.quick.name}
    without = [j for j, row in evidence.rows.items() if row[4] in names and j not in orders]
    lines = judge(evidence, codes=codes)
    return [
        *lines,
        Line("transactions", f"{number:,}, {rolled_back:,} rolled back"),
        bad("I12 orders without a job", orders - set(evidence.rows)),
        bad("I12 jobs without an order", without),
        bad("I8 began before a parent ended", early(evidence)),
    ]


def inner_rollback(marker: str) -> None:
    """Enqueue inside a savepoint that is rolled back: nothing of it may stay."""
    from django.db import transaction

    try:
        with transaction.atomic():
            jobs.quick.delay(0)
            raise Oops(marker)
    except Oops:
        pass


def early(evidence: Evidence) -> list[str]:
    """Return the jobs whose body began before that of a job on which they depend had ended."""
    from django_jobs.models import Edge

    found = []
    for parent, child in Edge.objects.values_list("parent_id", "child_id"):
        before, after = evidence.stories[str(parent)], evidence.stories[str(child)]
        if after.starts and (not before.ends or before.ends[-1][0] > after.starts[0][0]):
            found.append(str(child))
    return found
