"""Approvals: a job asks, a person or code decides once, and the job goes on with the decision."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied

from django_jobs import (
    Decision,
    EventTimeout,
    JobContext,
    NoOpenQuestion,
    aanswer,
    answer,
    control,
    job,
    send_event,
)
from django_jobs.exceptions import JobDoesNotExist, StepError
from django_jobs.ids import uuid7
from django_jobs.models import Approval, EventWait, Job, Step
from django_jobs.status import Status
from django_jobs.testing import run_jobs
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

DAY = datetime.timedelta(days=1)
GIVEN: list[Decision] = []


def asking(question: str = "Refund 4,000 €?", **options: Any) -> Any:
    """Enqueue a job that asks, and run it until it does."""
    GIVEN.clear()

    @job(name="tests.asks", bind=True)
    def asks(self: JobContext) -> str:
        GIVEN.append(self.ask(question, **options))
        return GIVEN[-1].choice

    result = asks.delay()
    run_jobs()
    assert state(result) == Status.WAITING
    return result


def state(result: Any) -> str:
    return Job.objects.get(pk=result.uuid).status


def user_with(*codenames: str) -> User:
    user = User.objects.create_user("ann")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_job_goes_on_with_the_decision_of_a_user() -> None:
    result = asking(permission="django_jobs.retry_job")
    answer(result.id, "approve", "he is right", user=user_with("retry_job"))
    run_jobs(until=result)
    (decision,) = GIVEN
    assert (decision.choice, decision.comment, decision.by) == ("approve", "he is right", "ann")
    row = Approval.objects.get()
    assert decision.at == row.decided_at
    assert (row.choice, row.comment, row.decided_by, row.question) == (
        "approve", "he is right", "ann", "Refund 4,000 €?",
    )  # fmt: skip
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("ann", str(result.id))
    assert entry.change_message == "Decided: approve."
    assert not EventWait.objects.exists()


def test_code_decides_without_a_user() -> None:
    result = asking()
    answer(result.id, "reject", by="nightly check")
    run_jobs(until=result)
    assert (GIVEN[0].choice, GIVEN[0].by, GIVEN[0].comment) == ("reject", "nightly check", "")
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_asynchronous_twin_decides() -> None:
    result = asking()
    async_to_sync(aanswer)(result.id, "approve")
    run_jobs(until=result)
    assert GIVEN[0].choice == "approve"


def test_coroutine_asks_too() -> None:
    @job(name="tests.coroutine", bind=True)
    async def coroutine(self: JobContext) -> str:
        return (await self.aask("Sure?")).choice

    result = coroutine.delay()
    run_jobs()
    answer(result.id, "approve")
    run_jobs(until=result)
    assert Job.objects.get(pk=result.uuid).result == "approve"


def test_form_gives_values_with_their_types() -> None:
    form = {
        "amount": decimal.Decimal, "pieces": int, "why": ["damaged", "late"], "note": str,
        "at_once": bool, "on": datetime.date,
    }  # fmt: skip
    result = asking(form=form)
    values = {
        "amount": decimal.Decimal("12.50"), "pieces": 3, "why": "late", "note": "",
        "at_once": True, "on": datetime.date(2026, 1, 2),
    }  # fmt: skip
    answer(result.id, "approve", form=values)
    run_jobs(until=result)
    assert GIVEN[0].form == values


def test_each_question_of_a_job_has_its_own_answer() -> None:
    @job(name="tests.asks_twice", bind=True)
    def asks_twice(self: JobContext) -> list[str]:
        return [self.ask("One?").choice, self.ask("Two?").choice]

    result = asks_twice.delay()
    run_jobs()
    with pytest.raises(NoOpenQuestion):
        answer(result.id, "approve", key="ask#2")
    answer(result.id, "approve", key="ask")
    run_jobs()
    answer(result.id, "reject", key="ask#2")
    run_jobs(until=result)
    assert Job.objects.get(pk=result.uuid).result == ["approve", "reject"]
    assert list(Step.objects.order_by("position").values_list("key", "kind")) == [
        ("ask", "approval"), ("ask#2", "approval"),
    ]  # fmt: skip


def test_timeout_raises_where_the_job_asks() -> None:
    @job(name="tests.hurried", bind=True)
    def hurried(self: JobContext) -> str:
        try:
            return self.ask("Sure?", timeout=DAY).choice
        except EventTimeout as error:
            return str(error)

    result = hurried.delay()
    run_jobs(at=DAY * 2)
    assert Job.objects.get(pk=result.uuid).result == "Nobody answered the question 'ask' in time."
    with pytest.raises(NoOpenQuestion, match="its time was over, or the job ended"):
        answer(result.id, "approve")


# --- once -----------------------------------------------------------------------------------------


def test_second_decision_is_refused_and_tells_the_first() -> None:
    result = asking()
    answer(result.id, "reject", by="bob")
    with pytest.raises(NoOpenQuestion, match="was decided by bob: reject"):
        answer(result.id, "approve", by="eve")
    run_jobs(until=result)
    assert GIVEN[0].choice == "reject"


def test_revoked_job_takes_no_answer() -> None:
    result = asking()
    control.revoke([result.id])
    with pytest.raises(NoOpenQuestion):
        answer(result.id, "approve")
    assert Approval.objects.get().decided_at is None


def test_event_decides_nothing() -> None:
    result = asking()
    for name in ("ask", str(Approval.objects.get().pk)):
        send_event(name, {"choice": "approve"})
    run_jobs()
    assert state(result) == Status.WAITING


def test_job_that_begins_anew_asks_again() -> None:
    result = asking()
    answer(result.id, "approve")
    run_jobs(until=result)
    control.retry([result.id])
    run_jobs()
    assert state(result) == Status.WAITING
    assert Approval.objects.count() == 2
    answer(result.id, "reject")
    run_jobs()
    assert [decision.choice for decision in GIVEN] == ["approve", "reject"]


# --- bad input ------------------------------------------------------------------------------------


def test_user_needs_the_permission_of_the_question() -> None:
    result = asking(permission="django_jobs.retry_job")
    with pytest.raises(PermissionDenied, match=r"needs the permission django_jobs\.retry_job"):
        answer(result.id, "approve", user=user_with("answer_approval"))
    assert state(result) == Status.WAITING


def test_question_without_a_permission_needs_the_general_one() -> None:
    result = asking()
    answer(result.id, "approve", user=user_with("answer_approval"))
    run_jobs(until=result)


def test_inactive_user_decides_nothing() -> None:
    user = User.objects.create_superuser("ann")
    user.is_active = False
    with pytest.raises(PermissionDenied):
        answer(asking().id, "approve", user=user)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"choice": "maybe"}, "choice must be one of 'approve', 'reject', got 'maybe'"),
        ({"comment": 7}, "comment must be a text"),
        ({"by": "x" * 201}, "must be a text of at most 200 characters"),
        ({"form": {}}, "Missing or unknown: amount"),
        ({"form": {"amount": 1, "more": 2}}, "Missing or unknown: more"),
        ({"form": {"amount": True}}, r"form\['amount'\] must be int, got a bool"),
        ({"form": [1]}, "form must be a dict of answers by name, got a list"),
    ],
)
def test_invalid_answer_is_refused(arguments: dict[str, Any], told: str) -> None:
    result = asking(form={"amount": int})
    with pytest.raises(ValueError, match=told):
        answer(result.id, **({"choice": "approve", "form": {"amount": 1}} | arguments))
    assert state(result) == Status.WAITING


def test_answer_needs_a_job_that_asks() -> None:
    with pytest.raises(JobDoesNotExist):
        answer(uuid7(), "approve")
    with pytest.raises(ValueError, match="badly formed"):
        answer("7", "approve")
    with pytest.raises(NoOpenQuestion, match="has asked no such question"):
        answer(jobs.add.delay(1, 2).id, "approve")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"question": ""}, "must be a text of 1 to 10000 characters, got 0 of them"),
        ({"question": 7}, "must be a text of 1 to 10000 characters, got an int"),
        ({"permission": "refund"}, "must name an app and a permission"),
        ({"choices": ()}, "1 to 50 different texts of at most 100 characters, got 0"),
        ({"choices": "yes"}, "got a str"),
        ({"choices": ["a", "a"]}, "got 2"),
        ({"choices": ["", "b"]}, "got '' among them"),
        ({"form": {"a b": int}}, "names as a variable has them, got 'a b'"),
        ({"form": {"a": float}}, r"form\['a'\] must be one of the types str, int, Decimal"),
        ({"form": [int]}, "form must be a dict of fields by name, got a list"),
        ({"timeout": -1}, "timeout must be from 0"),
    ],
)
def test_invalid_question_fails_the_job(options: dict[str, Any], told: str) -> None:
    @job(name="tests.asks", bind=True)
    def asks(self: JobContext) -> None:
        self.ask(**({"question": "Sure?"} | options))

    asks.delay()
    with pytest.raises(ValueError, match=told):
        run_jobs()
    assert not Approval.objects.exists()


def test_job_without_a_row_cannot_ask() -> None:
    @job(name="tests.asks", bind=True)
    def asks(self: JobContext) -> None:
        self.ask("Sure?")

    with pytest.raises(StepError, match=r"call run_jobs\(\) and answer\(\)"):
        asks.apply().get()
