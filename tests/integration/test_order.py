"""The worker of the tutorial's job is killed at every line, and at the end of every function.

``pytest -rP tests/integration/test_order.py`` prints what was seen after each kill.
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

from django.apps import apps

from django_jobs import answer, send_event
from django_jobs.models import Approval, Job, Step
from tests.shop import PAGE
from tests.shop.jobs import ALL, deliver_killed

PIECES = 5
#: What each course of an order does outside of the database, the pieces left, and its result.
COURSES = {
    "shipped": (["charge", "mail_question", "ship", "mail_buyer"], PIECES - 1, "T-1"),
    "called off": (["charge", "refund", "mail_buyer"], PIECES, "too late"),
}


class Orders:
    """Orders whose workers are killed, each at a point of its own."""

    def __init__(self, folder: Path, until: Any) -> None:
        self.folder, self.until = folder, until
        self.all: dict[int, tuple[str, str]] = {}
        self.results: dict[int, Any] = {}

    def add(self, course: str, point: str) -> None:
        item = apps.get_model("shop", "Item").objects.create(name="Piano", pieces=PIECES)
        order = item.order_set.create(euros=1500, email="ann@example.com").pk
        self.all[order] = (course, point)
        if course == "shipped":
            send_event(f"packed:{order}", {"parcel": "P-7"})
        days = 3 if course == "shipped" else 1e-8
        self.results[order] = deliver_killed.delay(str(self.folder), point, order, days)

    def wait(self) -> None:
        self.until(self.are_done)

    def are_done(self) -> bool:
        for approval in Approval.objects.filter(decided_at=None, job__status="WAITING"):
            answer(approval.job_id, "approve")
        return not Job.objects.exclude(status__in=["SUCCESS", "FAILURE"]).exists()

    def points(self, order: int) -> list[str]:
        return list(dict.fromkeys((self.folder / f"killed {order}").read_text().splitlines()))

    def check(self, order: int) -> str:
        """Check what is seen of the order, and return it as a row of the table."""
        course, point = self.all[order]
        effects, left, result = COURSES[course]
        where = f"{course}: {named(point)}"
        assert (self.folder / f"killed {order}").exists(), where
        calls = (self.folder / f"notes {order}").read_text().splitlines()
        seen = [call.split()[0] for call in calls]
        again = collections.Counter(seen) - collections.Counter(effects)
        # At least once, and never after a later one; twice only if the step was killed at its end.
        assert list(dict.fromkeys(seen)) == effects, where
        assert seen == sorted(seen, key=effects.index), where
        function = point.split()[0]
        assert list(again.elements()) in ([], [function]), where
        if point == f"{function} end" and function in effects:
            assert again[function] == 1, where
        # The same key, and so one charge, refund and parcel.
        assert len(set(calls)) == len(effects), where
        # The reservation and the release were committed once.
        pieces = apps.get_model("shop", "Item").objects.get(order=order).pieces
        assert pieces == left, where
        assert self.results[order].get() == result, where
        counts = " ".join(f"{name}={seen.count(name)}" for name in effects)
        keys = len(set(calls)) - len(effects)
        return f"{course} | {named(point)} | {counts} | pieces {pieces - PIECES:+}, new keys {keys}"


def named(point: str) -> str:
    """Return the point with the text of its line."""
    where = point.rpartition(" ")[2]
    if not where.isdigit():
        return point
    return f"{point} {PAGE.read_text().splitlines()[int(where) - 1].strip()}"


def test_order_survives_a_kill_at_every_line(runworker: Any, tmp_path: Path, until: Any) -> None:
    orders = Orders(tmp_path, until)
    for course in COURSES:
        orders.add(course, ALL)
    worker = runworker("-c", "2")
    orders.wait()
    found: set[str] = set()
    for order, (course, _all) in list(orders.all.items()):
        for point in orders.points(order):
            if point not in found:
                found.add(point)
                orders.add(course, point)
    orders.wait()
    assert worker.stop() == 0, worker.output()
    killed = [order for order, (_course, point) in orders.all.items() if point != ALL]
    for order in killed:
        sys.stdout.write(orders.check(order) + "\n")
    assert len(killed) >= 30
    assert set(Step.objects.values_list("state", flat=True)) <= {"DONE", "FAILED"}
