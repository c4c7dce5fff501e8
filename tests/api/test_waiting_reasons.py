"""For what jobs wait, as data: one kind of reason for each, and few statements for a page."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from django_jobs import chain, job
from django_jobs.api.waiting_reason import WaitingReason
from django_jobs.api.waiting_reasons import MOST_NAMED, waiting_reasons
from django_jobs.api.waiting_text import sentence
from django_jobs.control import pause_queue, set_queue_limits
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.metrics.snapshot import look
from django_jobs.metrics.waiting import Kind
from django_jobs.models import EventWait, Job, Step, Worker
from django_jobs.values import Claimed
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Take = Callable[..., list[Claimed]]


@job(concurrency=1, concurrency_key=["tenant"], name="tests.one_a_tenant")
def one_a_tenant(tenant: str, number: int = 0) -> None:
    pass


@job(rate_limit="6/m", name="tests.call_api")
def call_api() -> None:
    pass


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered.update({function.name: function for function in (one_a_tenant, call_api)})


def reasons() -> list[WaitingReason | None]:
    rows = list(Job.objects.order_by("pk"))
    found = waiting_reasons(rows)
    return [found.get(row.pk) for row in rows]


def only() -> WaitingReason:
    (reason,) = reasons()
    assert reason is not None
    return reason


def test_job_before_its_time() -> None:
    jobs.add.apply_async((1,), countdown=60)
    reason = only()
    assert (reason.kind, reason.queue) == (Kind.TIME, "default")
    assert reason.until == Job.objects.get().run_at


def test_job_after_an_error_waits_for_its_next_attempt() -> None:
    jobs.add.delay(1)
    Job.objects.update(status="RETRY", run_at=clock("default", 30), error_class="app.Down")
    assert (only().kind, only().subject) == (Kind.RETRY, "app.Down")


def test_job_under_a_rate_limit(take: Take, worker: Worker) -> None:
    for _number in range(7):
        call_api.delay()
    Admission("default").admit(worker.pk, take())
    reason = reasons()[-1]
    assert reason is not None
    assert (reason.kind, reason.limit, reason.subject) == (Kind.RATE, "6/m", "tests.call_api")
    row = Job.objects.order_by("pk").last()
    assert row is not None
    assert reason.until == row.run_at
    assert "rate limit 6/m of tests.call_api: it starts about " in sentence(reason)
    assert row.worker_id is None  # no worker has it, and none has begun it


def test_jobs_in_line_for_a_permit_know_their_place_and_the_holder(
    take: Take, worker: Worker
) -> None:
    Worker.objects.update(slots=2)
    for tenant in ("a", "b", "a", "a"):
        one_a_tenant.delay(tenant)
    Admission("default").admit(worker.pk, take())
    holder, other, first, second = reasons()
    assert holder is None
    assert other is None
    assert first is not None
    assert second is not None
    assert (first.kind, first.limit, first.per) == (Kind.CONCURRENCY, "1", "tenant")
    assert [first.position, second.position] == [0, 1]
    (held_by,) = second.jobs
    oldest = Job.objects.order_by("pk").first()
    assert oldest is not None
    assert held_by == (oldest.pk, "tests.one_a_tenant")
    with translation.override("en"):
        assert sentence(second) == (
            "concurrency limit 1 of tests.one_a_tenant for each tenant is reached: place 2 in line,"
            " held by tests.one_a_tenant"
        )


def test_line_of_a_queue_with_a_limit(take: Take, worker: Worker) -> None:
    set_queue_limits("default", concurrency=1)
    jobs.add.delay(1)
    jobs.add.delay(2)
    Admission("default").admit(worker.pk, take())
    _running, reason = reasons()
    assert reason is not None
    assert (reason.kind, reason.limit, reason.subject) == (Kind.CONCURRENCY, "1", "")
    assert "concurrency limit 1 of queue “default” is reached" in sentence(reason)


def test_jobs_of_a_paused_queue() -> None:
    jobs.add.delay(1)
    pause_queue("default", by="root")
    reason = only()
    assert (reason.kind, reason.by) == (Kind.PAUSED, "root")
    assert reason.since is not None


def test_jobs_whose_queue_no_worker_serves_or_only_quiet_ones(new_worker: Any) -> None:
    jobs.add.delay(1)
    new_worker(queues=["mail"])
    new_worker(pool=Worker.BEAT)
    new_worker(lease_seconds=-1)
    assert only().kind == Kind.NO_WORKER
    new_worker(quiet=True)
    assert only().kind == Kind.QUIET


def test_ready_jobs_know_how_many_are_before_them(worker: Worker) -> None:
    jobs.add.delay(1)
    jobs.add.delay(2)
    jobs.add.apply_async((3,), priority=5)
    found = reasons()
    assert [one.kind for one in found if one] == [Kind.QUEUED] * 3
    assert [one.position for one in found if one] == [1, 2, 0]


def test_function_that_no_live_worker_knows(new_worker: Any) -> None:
    jobs.add.delay(1)
    Job.objects.update(
        status="SCHEDULED", run_at=clock("default", 30), deferrals=1,
        error_class="django_jobs.exceptions.UnknownJob",
    )  # fmt: skip
    new_worker(details={"registered": {"tests.jobs.other": {}}})
    assert (only().kind, only().subject) == (Kind.UNKNOWN_FUNCTION, "tests.jobs.add")
    new_worker(details={"registered": {"tests.jobs.add": {}}})
    assert only().kind == Kind.DEFERRED


def test_jobs_after_others_name_the_first_of_them() -> None:
    chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
    first, second = reasons()
    assert first is not None
    assert second is not None
    assert (second.kind, second.number) == (Kind.DEPENDENCIES, 1)
    assert [one.name for one in second.jobs] == ["tests.jobs.add"]


@pytest.mark.parametrize(
    ("name", "kind"), [("paid", Kind.EVENT), ("", Kind.APPROVAL)], ids=["event", "person"]
)
def test_job_whose_step_waits(name: str, kind: Kind) -> None:
    jobs.add.delay(1)
    row = Job.objects.get()
    Job.objects.update(status="WAITING")
    EventWait.objects.create(job=row, key="pay", name=name, until=clock("default", 60))
    reason = only()
    assert (reason.kind, reason.step, reason.subject) == (kind, "pay", name)
    assert reason.until is not None


@pytest.mark.parametrize(
    ("state", "kind"), [("WAITING", Kind.SLEEP), ("RETRY", Kind.STEP_RETRY)], ids=["sleep", "retry"]
)
def test_job_whose_step_sleeps_or_is_retried(state: str, kind: Kind) -> None:
    jobs.add.apply_async((1,), countdown=60)
    Step.objects.create(
        job=Job.objects.get(), key="nap", position=1, kind="sleep", state=state, claims=1
    )
    assert (only().kind, only().step) == (kind, "nap")


def test_claimed_jobs_that_have_not_begun(take: Take, new_worker: Any) -> None:
    worker = new_worker(slots=1)
    for number in range(3):
        jobs.add.delay(number)
    take(by=worker)
    running, *ahead = reasons()
    assert running is None
    assert [(one.kind, one.by, one.position) for one in ahead if one] == [
        (Kind.PREFETCHED, "w", 0),
        (Kind.PREFETCHED, "w", 1),
    ]


def test_ended_jobs_wait_for_nothing() -> None:
    jobs.add.delay(1)
    Job.objects.update(status="SUCCESS")
    assert reasons() == [None]


def test_statements_are_as_many_for_a_page_as_for_one_of_each(
    take: Take, worker: Worker, new_worker: Any
) -> None:
    def one_of_each() -> None:
        jobs.add.delay(1)
        jobs.add.apply_async((1,), countdown=60)
        chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
        row = jobs.add.apply_async((1,), queue="mail").uuid
        Job.objects.filter(pk=row).update(status="WAITING", waiting_for=f"queue:{uuid.uuid4()}")
        row = jobs.add.apply_async((1,), queue=f"q{uuid.uuid4().hex}").uuid
        row = jobs.add.apply_async((1,), queue="mail").uuid
        Job.objects.filter(pk=row).update(status="WAITING")
        row = jobs.add.apply_async((1,), queue="mail").uuid
        Job.objects.filter(pk=row).update(
            status="STARTED", worker_id=new_worker(slots=0).pk, started_at=timezone.now()
        )

    def statements() -> int:
        rows = list(Job.objects.all())
        with CaptureQueriesContext(connection) as captured:
            waiting_reasons(rows)
        return len(captured)

    one_of_each()
    before = statements()
    for _number in range(9):
        one_of_each()
    assert statements() == before <= 16


def test_reason_of_a_job_with_a_thousand_parents_names_three() -> None:
    jobs.add.delay(1)
    child = Job.objects.get()
    parents = [
        Job(
            pk=uuid.uuid4(), name="p", queue="default", status="PENDING", enqueued_at=timezone.now()
        )
        for _number in range(10)
    ]
    Job.objects.bulk_create(parents)
    Job.objects.filter(pk=child.pk).update(status="WAITING", pending_parents=10)
    child.edges_in.bulk_create(
        child.edges_in.model(parent=parent, child=child, position=number)
        for number, parent in enumerate(parents)
    )
    reason = waiting_reasons(Job.objects.filter(pk=child.pk))[child.pk]
    assert (reason.number, len(reason.jobs)) == (10, MOST_NAMED)
    assert sentence(reason).endswith("p, p, p, …")


def test_json_has_the_fields_that_are_set() -> None:
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    reason = WaitingReason(Kind.RATE, "mail", subject="shop.f", limit="6/m", until=at)
    assert reason.as_json() == {
        "kind": "rate_limit", "queue": "mail", "subject": "shop.f", "limit": "6/m", "until": at,
    }  # fmt: skip


def test_numbers_by_reason(take: Take, worker: Worker) -> None:
    for _number in range(8):
        call_api.delay()
    one_a_tenant.delay("a")
    one_a_tenant.delay("a")
    Admission("default").admit(worker.pk, take())
    jobs.add.delay(1)
    jobs.add.apply_async((1,), queue="nowhere")
    jobs.add.apply_async((1,), queue="held")
    pause_queue("held")
    jobs.add.apply_async((1,), countdown=60)
    Worker.objects.update(queues=["default"])
    numbers = {kind: int(number) for kind, number in look("default").waiting.items() if number}
    assert numbers == {
        Kind.QUEUED: 1, Kind.NO_WORKER: 1, Kind.PAUSED: 1, Kind.TIME: 1, Kind.RATE: 2,
        Kind.CONCURRENCY: 1,
    }  # fmt: skip
