"""Each path that makes work ready, or changes what sleepers wait for, wakes them by a notification.

Without one only polling would find the work, seconds later, and no other test would notice.
"""

from __future__ import annotations

import ast
import datetime
import importlib
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

import django_jobs
from django_jobs import chord, control
from django_jobs.beat.fire import fire_due
from django_jobs.control import commands, schedules, stacks
from django_jobs.db import Dialect, clock, dialect_for, own_connection
from django_jobs.enqueue.notify import Topic, is_of_one_job, queue_of
from django_jobs.events.ending import End, end_waits
from django_jobs.limits.admission import Admission
from django_jobs.limits.overrides import set_limits
from django_jobs.maintenance import promote, rescue, unblock
from django_jobs.models import EventWait, Job, Limit, Queue, Schedule, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.steps.rows import RowStore
from django_jobs.values import Claimed
from tests.workflows.jobs import (
    add,
    become,
    employer,
    fail,
    flaky,
    only_one,
    patient,
    received,
    same,
    total,
    widen,
)  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)

PACKAGE = Path(django_jobs.__file__).parent
Path_ = Callable[["Site"], tuple[Callable[[], object], set[str]]]
PATHS: list[tuple[str, Path_]] = []


class Site:
    """What a path needs: a worker that claims, and ends jobs."""

    def __init__(self) -> None:
        now = clock("default")
        self.worker = Worker.objects.create(
            name="w", hostname="h", pid=1, pool="solo", started_at=now, heartbeat_at=now,
            lease_until=clock("default", 60),
        )  # fmt: skip

    def claim(self, limit: int = 100) -> list[Claimed]:
        queues = sorted(set(Job.objects.ready().values_list("queue", flat=True)))
        return claim(self.worker.pk, queues, limit, "default")[0]

    def run(self, claimed: list[Claimed]) -> list[Any]:
        steps = RowStore(lambda: self.worker.pk, "default", reassert)
        return [execute(each, Environment(steps=steps)) for each in claimed]

    def end(self, claimed: list[Claimed]) -> list[Any]:
        return record(self.worker.pk, self.run(claimed), "default")


def path(where: str) -> Callable[[Path_], Path_]:
    """Note what makes a path ready: it returns the path, and the topics that it notifies.

    *where* is the module and the function whose call of ``announce`` it is.
    """

    def note(make: Path_) -> Path_:
        PATHS.append((where, make))
        return make

    return note


@path("enqueue.insert.write_alike")
def several_calls(site: Site) -> Any:
    return lambda: add.delay_many([(1,), (2,)], queue="own"), {"own"}


@path("enqueue.insert.write_alike")
def several_later_calls(site: Site) -> Any:
    return lambda: add.delay_many([(1,), (2,)], countdown=60), {Topic.TIMED}


@path("enqueue.insert.write_sent")
def later_call(site: Site) -> Any:
    return lambda: add.apply_async((1,), countdown=60), {Topic.TIMED}


@path("enqueue.insert.write_sent")
def new_arguments_of_a_live_job(site: Site) -> Any:
    only_one.apply_async((1,))
    options = only_one.options
    object.__setattr__(options, "unique", "replace")
    return lambda: only_one.apply_async((1,), queue="own"), {"own"}


@path("enqueue.insert.write_sent")
def due_schedule(site: Site) -> Any:
    schedule = Schedule.objects.create(
        name="s", job_name=add.name, args=[1], kind="interval", interval_seconds=60, queue="own"
    )
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", -1))
    return lambda: fire_due("default"), {"own"}


@path("enqueue.insert.write_sent")
def schedule_run_now(site: Site) -> Any:
    schedule = Schedule.objects.create(
        name="s", job_name=add.name, args=[1], kind="interval", interval_seconds=60, queue="own"
    )
    return lambda: schedules.run_now(schedule), {"own"}


@path("enqueue.insert.write_sent")
def workflow(site: Site) -> Any:
    canvas = add.s(1).set(queue="own") | add.s(2).set(queue="later")
    return lambda: canvas.apply_async(), {"own"}


@path("enqueue.insert.write_sent")
def errback(site: Site) -> Any:
    fail.apply_async(link_error=received.s().set(queue="own"))
    claimed = site.claim()
    return lambda: site.end(claimed), {"own"}


@path("enqueue.insert.write_sent")
def added_member(site: Site) -> Any:
    chord([widen.s(1, add.s(2).set(queue="own"))], total.s()).apply_async()
    claimed = site.claim()
    return lambda: site.end(claimed), {"own"}


@path("workflows.replace.go_on_as")
def job_that_goes_on(site: Site) -> Any:
    become.delay(add.s(1).set(queue="own"))
    claimed = site.claim()
    return lambda: site.end(claimed), {"own"}


@path("workflows.completion._count_down")
def dependent(site: Site) -> Any:
    (add.s(1) | add.s(2).set(queue="own")).apply_async()
    claimed = site.claim()
    return lambda: site.end(claimed), {"own"}


@path("workflows.completion._count_down")
def dependent_with_a_time(site: Site) -> Any:
    (add.s(1) | add.s(2).set(queue="own", countdown=60)).apply_async()
    claimed = site.claim()
    return lambda: site.end(claimed), {"own", Topic.TIMED}


@path("workflows.completion._count_down")
def end_of_a_revoked_group(site: Site) -> Any:
    from django_jobs import group

    whole = group(add.s(1)).on_complete(same.s()).set(queue="own")
    result = whole.apply_async()
    Job.objects.filter(name="django_jobs.accumulate").update(queue="own")
    return lambda: result.revoke(), {"own"}


@path("run.record.record")
def retry_of_an_attempt(site: Site) -> Any:
    flaky.delay()
    claimed = site.claim()
    return lambda: site.end(claimed), {Topic.TIMED}


@path("run.record.record")
def job_given_back(site: Site) -> Any:
    add.apply_async((1,), queue="own")
    claimed = site.claim()
    return lambda: release(site.worker.pk, claimed, "default"), {"own"}


@path("run.release._give_back")
def stray(site: Site) -> Any:
    add.apply_async((1,), queue="own")
    site.claim()
    return lambda: release_strays(site.worker.pk, [], "default"), {"own"}


@path("limits.concurrency._make_pending")
def freed_permit(site: Site) -> Any:
    Limit.objects.create(key=f"job:{add.name}", concurrency=1)
    add.delay(1)
    add.apply_async((2,), queue="own")
    admitted, _failed = Admission("default").admit(site.worker.pk, site.claim())
    assert Job.objects.filter(status="WAITING", queue="own").exists()
    return lambda: site.end(admitted), {"own"}


@path("limits.concurrency._make_pending")
def permit_that_the_guard_finds(site: Site) -> Any:
    Limit.objects.create(key=f"job:{add.name}", concurrency=1)
    add.delay(1)
    add.apply_async((2,), queue="own")
    Admission("default").admit(site.worker.pk, site.claim())
    Limit.objects.update(concurrency=2)
    return lambda: unblock.run_all("default"), {"own"}


@path("limits.admission._postpone")
def job_over_a_rate(site: Site) -> Any:
    Limit.objects.create(key=f"job:{add.name}", rate_limit="1/h")
    add.delay_many([(1,), (2,)])
    claimed = site.claim()
    return lambda: Admission("default").admit(site.worker.pk, claimed), {Topic.TIMED}


@path("limits.overrides._compute_anew")
def new_rate(site: Site) -> Any:
    Limit.objects.create(key=f"job:{add.name}", rate_limit="1/h")
    add.delay_many([(1,), (2,)])
    Admission("default").admit(site.worker.pk, site.claim())
    return lambda: set_limits(add.name, rate_limit="1/m"), {Topic.TIMED}


@path("maintenance.promote._promote")
def due_job(site: Site) -> Any:
    add.apply_async((1,), countdown=60, queue="own")
    Job.objects.update(run_at=clock("default", -1))
    return lambda: promote.run_once("default"), {"own"}


@path("maintenance.rescue._rescue")
def job_of_a_lost_worker(site: Site) -> Any:
    add.apply_async((1,), queue="own")
    site.claim()
    Worker.objects.update(lease_until=clock("default", -1))
    return lambda: rescue.run_once("default"), {"own"}


@path("maintenance.rescue._rescue")
def job_of_no_worker(site: Site) -> Any:
    add.apply_async((1,), queue="own")
    Job.objects.update(status="STARTED")  # by hand
    return lambda: rescue.run_once("default"), {"own"}


@path("maintenance.rescue.clean_up_after")
def job_of_a_dead_process(site: Site) -> Any:
    add.apply_async((1,), queue="own")
    (claimed,) = site.claim()
    running = {(claimed.id, claimed.claims): None}
    return lambda: rescue.clean_up_after(site.worker.pk, running, "default"), {"own"}


@path("control.retrying.retry")
def retry_by_an_operator(site: Site) -> Any:
    result = add.apply_async((1,), queue="own")
    control.revoke([result.uuid])
    return lambda: control.retry([result.uuid]), {"own"}


@path("control.jobs._run_now")
def run_now(site: Site) -> Any:
    result = add.apply_async((1,), countdown=60, queue="own")
    return lambda: control.run_now([result.uuid]), {"own"}


@path("control.moving._leave_limits")
def moved(site: Site) -> Any:
    result = add.apply_async((1, 2), queue="other")
    return lambda: control.move([result.uuid], queue="own"), {"own"}


@path("control.moving._leave_limits")
def moved_with_a_time_under_a_rate(site: Site) -> Any:
    Queue.objects.create(name="other", rate_limit="1/h")
    _first, later = [add.apply_async((1, 2), queue="other") for _ in range(2)]
    Admission("default").admit(site.worker.pk, site.claim())
    return lambda: control.move([later.uuid], queue="own"), {Topic.TIMED}


@path("control.queues.resume_queue")
def resumed_queue(site: Site) -> Any:
    Queue.objects.create(name="own", paused_at=timezone.now())
    return lambda: control.resume_queue("own"), {"own"}


@path("control.editing._leave_limits")
def job_in_line_with_new_arguments(site: Site) -> Any:
    result = add.apply_async((1,), queue="own")
    Job.objects.filter(pk=result.uuid).update(status="WAITING", waiting_for="queue:own")
    return lambda: control.edit(result.uuid, args=[2]), {"own"}


@path("control.editing._set_time")
def job_at_another_time(site: Site) -> Any:
    result = add.apply_async((1,), countdown=60)
    later = timezone.now() + datetime.timedelta(hours=1)
    return lambda: control.edit(result.uuid, eta=later), {Topic.TIMED}


@path("control.editing._set_time")
def job_at_once(site: Site) -> Any:
    result = add.apply_async((1,), queue="own", countdown=60)
    return lambda: control.edit(result.uuid, eta=timezone.now()), {"own"}


@path("control.jobs._stop_running")
def terminated_job(site: Site) -> Any:
    result = add.delay(1)
    site.claim()
    return lambda: control.revoke([result.uuid], terminate=True), {Topic.COMMANDS}


@path("control.stacks.ask")
def question_for_a_stack(site: Site) -> Any:
    add.delay(1)
    site.claim()
    return lambda: stacks.ask(Job.objects.get(), "", "default"), {Topic.COMMANDS}


@path("control.commands.send")
def command(site: Site) -> Any:
    return lambda: commands.send("ping"), {Topic.COMMANDS}


def a_schedule(**fields: Any) -> Schedule:
    return Schedule.objects.create(
        name="s", job_name=add.name, args=[1], kind="interval", interval_seconds=60, **fields
    )


@path("control.schedules.changed")
def enabled_schedule(site: Site) -> Any:
    schedule = a_schedule(enabled=False)
    return lambda: schedules.enable([schedule.pk]), {Topic.SCHEDULES}


@path("control.schedules.changed")
def disabled_schedule(site: Site) -> Any:
    schedule = a_schedule()
    return lambda: schedules.disable([schedule.pk]), {Topic.SCHEDULES}


@path("control.schedules.changed")
def skipped_tick(site: Site) -> Any:
    schedule = a_schedule(next_run_at=timezone.now())
    return lambda: schedules.skip_next([schedule.pk]), {Topic.SCHEDULES}


@path("steps.events.write")
def wait_with_a_timeout(site: Site) -> Any:
    patient.delay("paid:1")
    outcomes = site.run(site.claim())
    return lambda: record(site.worker.pk, outcomes, "default"), {Topic.TIMED}


@path("steps.children.write")
def job_inside_a_job(site: Site) -> Any:
    employer.delay("own")
    outcomes = site.run(site.claim())
    return lambda: record(site.worker.pk, outcomes, "default"), {"own"}


@path("events.ending.end_waits")
def end_of_a_wait(site: Site) -> Any:
    patient.apply_async(("paid:1",), queue="own")
    site.end(site.claim())
    waits = [EventWait.objects.get()]
    return lambda: end_waits(waits, End({"euros": 20}), "default"), {"own"}


# --- hearing ------------------------------------------------------------------------------------


@pytest.fixture
def listener(vendor: str, registered: Any) -> Iterator[Dialect]:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL notifies")
    before = connections["default"]
    before.ensure_connection()
    # Topics that a transaction of an earlier test left when it rolled back.
    before.__dict__.pop("_django_jobs_topics", None)
    unique = only_one.options.unique
    dialect = dialect_for(own_connection("default"))
    connections["default"] = before
    assert dialect.listen()
    yield dialect
    object.__setattr__(only_one.options, "unique", unique)
    dialect.connection.close()


@pytest.fixture
def heard(listener: Dialect, until: Callable[..., None]) -> Iterator[Callable[[], set[str]]]:
    """Return the topics that were notified so far, since the last look."""
    other = connection.copy()

    def heard() -> set[str]:
        # Notifications come in the order of their commits: this one is the last.
        end = f"end {uuid.uuid4()}"
        dialect_for(other).notify([end])
        topics: set[str] = set()

        def ended() -> bool:
            topics.update(listener.received())
            return end in topics

        until(ended)
        return topics - {end}

    yield heard
    other.close()


class RolledBack(Exception):
    pass


@pytest.mark.parametrize(("where", "make"), PATHS, ids=[make.__name__ for _where, make in PATHS])
def test_path_notifies_when_its_transaction_commits_and_only_then(
    where: str, make: Path_, heard: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    do, topics = make(Site())
    heard()
    with pytest.raises(RolledBack), transaction.atomic():
        do()
        raise RolledBack
    assert heard() == set()
    connection.__dict__.pop("_django_jobs_topics", None)
    drop_announcements(where, monkeypatch)
    with pytest.raises(RolledBack), transaction.atomic():
        do()
        assert not connection.__dict__.get("_django_jobs_topics", set()) >= topics
        raise RolledBack
    monkeypatch.undo()
    connection.__dict__.pop("_django_jobs_topics", None)
    with transaction.atomic():
        do()
        assert heard() == set()
    assert heard() >= topics


def drop_announcements(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the calls of ``announce`` in one function do nothing; all others stay."""
    module_name, _dot, function = where.rpartition(".")
    module: Any = importlib.import_module(f"django_jobs.{module_name}")
    announce = module.announce

    def dropping(using: str, topics: set[str]) -> None:
        if sys._getframe(1).f_code.co_name != function:
            announce(using, topics)

    monkeypatch.setattr(module, "announce", dropping)


def test_calls_notify_of_their_queue_without_a_transaction(heard: Callable[[], set[str]]) -> None:
    heard()
    add.delay_many([(1,), (2,)], queue="own")
    assert heard() == {"own"}


def test_call_notifies_of_its_job_without_a_transaction(heard: Callable[[], set[str]]) -> None:
    heard()
    result = add.apply_async((1,), queue="own")
    (topic,) = heard()
    assert topic == f"own\t{result.id.hex}"
    assert (queue_of(topic), is_of_one_job(topic), is_of_one_job("own")) == ("own", True, False)


def test_call_for_later_notifies_of_no_queue(heard: Callable[[], set[str]]) -> None:
    heard()
    add.apply_async((1,), countdown=60)
    assert heard() == {Topic.TIMED}


@pytest.mark.once
def test_every_call_of_announce_is_in_the_table() -> None:
    found = set()
    for file in PACKAGE.rglob("*.py"):
        module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef) and "announce" in called(function):
                found.add(f"{module}.{function.name}")
    assert found == {where for where, _make in PATHS}


def called(function: ast.FunctionDef) -> Iterator[str]:
    """The names that a function calls itself, without those of functions inside it."""
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        nodes += ast.iter_child_nodes(node)
