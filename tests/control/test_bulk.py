"""Operations on many jobs take a few statements for a thousand of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import chain, job
from django_jobs.admin.job_actions import DELETE, RETRY, REVOKE, Operation, perform, with_causes
from django_jobs.control import retry
from django_jobs.control.retrying import with_root_causes
from django_jobs.ids import uuid7
from django_jobs.models import Attempt, Job, Step
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

MANY = 2_000


def make(number: int, status: str = "FAILURE", **fields: Any) -> list[uuid.UUID]:
    now = timezone.now()
    rows = [
        Job(
            pk=uuid7(), name="tests.jobs.add", queue="default", status=status, enqueued_at=now,
            error_class="app.Down" if status == "FAILURE" else "", **fields,
        )
        for _number in range(number)
    ]  # fmt: skip
    Job.objects.bulk_create(rows)
    return [row.pk for row in rows]


def statuses() -> set[str]:
    return set(Job.objects.values_list("status", flat=True))


def test_retry_takes_five_statements_for_a_thousand_jobs() -> None:
    ids = make(MANY)
    with CaptureQueriesContext(connection) as captured:
        assert retry(ids) == (MANY, {})
    assert len(captured) <= 10  # a hundred for ten thousand would be twice as many
    assert statuses() == {"PENDING"}
    assert not Job.objects.exclude(error_class="").exists()


def test_terminal_retries_all_that_match_as_quickly() -> None:
    make(MANY)
    with CaptureQueriesContext(connection) as captured:
        call_command("jobs", "retry", "--status", "FAILURE", stdout=_Nowhere())
    assert len(captured) <= 20
    assert statuses() == {"PENDING"}


class _Nowhere:
    def write(self, text: str) -> None:
        pass


@pytest.mark.parametrize(
    ("operation", "status", "after"),
    [(RETRY, "FAILURE", {"PENDING"}), (REVOKE, "PENDING", {"REVOKED"}), (DELETE, "SUCCESS", set())],
    ids=["retry", "revoke", "delete"],
)
def test_admin_changes_ten_thousand_with_a_hundred_statements(
    operation: Operation, status: str, after: set[str]
) -> None:
    ids = make(MANY, status)
    user = User.objects.create_user("ann")
    with CaptureQueriesContext(connection) as captured:
        assert perform(operation, ids, user.pk, "default") == (MANY, {})
    # SQLite takes a hundred and forty rows of the admin's log at a time.
    others = [one for one in captured if "INSERT INTO" not in one["sql"]]
    # A hundred for ten thousand jobs, and twice as many where rows of other tables go with them.
    assert len(others) <= MANY // 100 * (2 if operation is DELETE else 1)
    assert statuses() == after
    assert LogEntry.objects.count() == MANY


def test_jobs_with_something_around_them_are_retried_with_care(
    work: Callable[..., list[Outcome]],
) -> None:
    plain = make(3)
    (stepped,) = make(1)
    Step.objects.create(
        job_id=stepped, key="a", position=1, kind="call", state="RETRY", claims=1, tries=3
    )
    jobs.fail.delay()
    chain(jobs.fail.s(), jobs.add.si(1)).apply_async()
    work()
    first, *_others = Job.objects.filter(has_dependents=True)
    waits = Job.objects.get(error_class__endswith="UpstreamFailed")
    (live,) = make(1, "STARTED")
    done, skipped = retry([*plain, stepped, first.pk, live, uuid.uuid4()])
    assert (done, skipped) == (5, {"is started": 1, "gone": 1})
    waits.refresh_from_db()
    assert waits.status == "WAITING"
    assert Step.objects.get().tries == 0


def test_note_gets_each_changed_job_once_in_the_transaction() -> None:
    ids = make(30)
    make(5, "PENDING")
    noted: list[uuid.UUID] = []

    def note(changed: Any) -> None:
        assert connection.in_atomic_block
        noted.extend(each.pk for each in changed)

    retry(list(Job.objects.values_list("pk", flat=True)), note=note)
    assert sorted(noted) == ids


def test_retry_of_a_consequence_retries_its_root_cause(
    work: Callable[..., list[Outcome]],
) -> None:
    chain(jobs.fail.s(), jobs.add.si(1), jobs.add.si(2)).apply_async()
    work()
    cause = Job.objects.get(error_class="builtins.ValueError")
    failed = list(
        Job.objects.filter(error_class__endswith="UpstreamFailed").values_list("pk", flat=True)
    )
    assert with_root_causes([*failed, cause.pk], "default") == ([cause.pk], 2)
    user = User.objects.create_user("ann")
    errors = dict(Job.objects.filter(pk__in=failed).values_list("pk", "error_class"))
    wanted, skipped = with_causes(RETRY, errors, Job.objects.all())
    assert perform(RETRY, wanted, user.pk, "default") == (1, {})
    assert list(skipped.values()) == [2]
    assert sorted(Job.objects.values_list("status", flat=True)) == ["PENDING", "WAITING", "WAITING"]


def test_retry_looks_no_root_causes_up_for_jobs_that_failed_themselves(
    django_assert_num_queries: Any,
) -> None:
    errors = {uuid7(): "builtins.KeyError", uuid7(): ""}
    with django_assert_num_queries(0):
        assert with_causes(RETRY, errors, Job.objects.all()) == (list(errors), {})


def test_retried_job_runs_as_new(work: Callable[..., list[Outcome]]) -> None:
    ran: list[int] = []

    @job(name="tests.bulk_again", max_retries=0)
    def again(number: int) -> None:
        ran.append(number)
        if len(ran) <= 2:
            raise ValueError

    results = again.delay_many([(1,), (2,)])
    work()
    assert retry([result.id for result in results]) == (2, {})
    work()
    assert ran == [1, 2, 1, 2]
    assert statuses() == {"SUCCESS"}
    assert Attempt.objects.count() == 2
