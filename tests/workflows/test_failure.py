"""What becomes of a workflow when a job of it does not succeed."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from django_jobs import (
    JobFailed,
    JobRevoked,
    UpstreamFailed,
    chain,
    chord,
    current_job,
    group,
    job,
    signals,
)
from django_jobs.control import retry, revoke
from django_jobs.db import clock
from django_jobs.maintenance import prune
from django_jobs.models import Job
from django_jobs.testing import run_jobs
from tests.workflows.jobs import (
    add,
    atomic,
    become,
    echo,
    expected,
    fail,
    hear,
    heard,
    ignore,
    received,
    reject,
    same,
    total,
    unkept,
)

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]


def statuses() -> list[str]:
    return list(Job.objects.order_by("id").values_list("status", flat=True))


# --- failure ------------------------------------------------------------------------------------


def test_failed_link_fails_all_later_links(drain: Drain) -> None:
    result = chain(add.s(1), fail.s(), add.s(2), add.s(3)).apply_async()
    drain()
    assert statuses() == ["SUCCESS", "FAILURE", "FAILURE", "FAILURE"]
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=0)
    last = Job.objects.order_by("id").last()
    failed = Job.objects.order_by("id")[1]
    assert last.error_class == f"{UpstreamFailed.__module__}.{UpstreamFailed.__qualname__}"
    assert last.error_message == (
        f"job {failed.pk} (tests.workflows.jobs.fail) failed: builtins.ValueError: broken"
    )
    assert last.prune_at is not None
    assert last.ended_at is not None


def test_error_of_an_upstream_job_that_is_gone(drain: Drain) -> None:
    result = chain(fail.s(), add.s(2)).apply_async()
    drain()
    Job.objects.filter(name__endswith="fail").delete()
    with pytest.raises(UpstreamFailed, match=r"tests.workflows.jobs.fail\) failed"):
        result.get(timeout=0)


@pytest.mark.parametrize(
    "body",
    [
        total.s(),
        total.s() | add.s(1),
        group(total.s(), same.s()),
        chord([total.s(), same.s()], echo.s()),
        total.si([]),
    ],
    ids=["job", "chain", "group", "chord", "immutable"],
)
def test_failing_header_runs_no_body(drain: Drain, body: Any) -> None:
    result = chord([add.s(1), fail.s(), add.s(2)], body).apply_async()
    drain(1)
    assert not Job.objects.live().exists()
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=0)
    assert not Job.objects.filter(group_id=None, status="SUCCESS").exists()


ERRBACK = hear.si("failed")
CHAIN = total.s() | add.s(1)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "canvas",
    [
        chord([fail.s()], total.s().on_error(ERRBACK)),
        chord([fail.s()], total.si([]).on_error(ERRBACK)),
        chord([add.s(1), fail.s(), fail.s()], total.s().on_error(ERRBACK)),
        chord([add.s(1) | fail.s() | add.s(1)], total.s().on_error(ERRBACK)),
        chord([fail.s()], CHAIN.clone().on_error(ERRBACK)),
        chord([fail.s()], total.s().on_error(ERRBACK) | add.s(1)),
        chord([fail.s()], total.s().on_error(ERRBACK)) | add.s(1) | add.s(2),
        add.s(1) | group(fail.s()) | total.s().on_error(ERRBACK) | add.s(1),
        chord([fail.s()], group(total.s().on_error(ERRBACK), same.s())),
        chord([fail.s()], group(total.s(), same.s()).on_error(ERRBACK)),
        chord([fail.s()], chord([total.s()], same.s()).on_error(ERRBACK)),
        chord([fail.s()], chord([total.s().on_error(ERRBACK)], same.s())),
        chord([chord([fail.s()], total.s())], same.s().on_error(ERRBACK)),
        chord([chord([fail.s()], total.s().on_error(ERRBACK))], same.s()),
        chord([become.s(chord([fail.s()], total.s()))], same.s().on_error(ERRBACK)),
        chord([add.s(1)], fail.s().on_error(ERRBACK)),
        chord([add.s(1)], become.si(fail.s()).on_error(ERRBACK)),
        chord([fail.s()], total.s()).on_error(ERRBACK),
        chord([fail.s()], group().on_error(ERRBACK)),
    ],
    ids=range(19),
)
def test_errback_of_a_body_is_told_once_of_the_header_too(
    drain: Drain, canvas: Any, eager: bool
) -> None:
    heard.clear()
    canvas.apply() if eager else canvas.apply_async()
    drain()
    assert heard == [["failed"]]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "canvas",
    [
        add.s(1) | fail.s() | add.s(1).on_error(ERRBACK),
        chord([fail.s()], total.s() | add.s(1).on_error(ERRBACK)),
        fail.s() | group(add.s(1)) | total.s().on_error(ERRBACK),
        chord([add.s(1)], total.s().on_error(ERRBACK)) | fail.s(),
        chord([add.s(1)], total.s().on_error(ERRBACK)),
    ],
    ids=range(5),
)
def test_errback_is_not_told_of_what_is_before_or_after(
    drain: Drain, canvas: Any, eager: bool
) -> None:
    heard.clear()
    canvas.apply() if eager else canvas.apply_async()
    drain()
    assert heard == []


@pytest.mark.parametrize(
    ("function", "error"), [(fail, ValueError), (reject, JobFailed), (expected, KeyError)]
)
def test_any_failure_counts(drain: Drain, function: Any, error: type[Exception]) -> None:
    result = (function.s() | add.s(1)).apply_async()
    drain()
    assert statuses() == ["FAILURE", "FAILURE"]
    with pytest.raises(error):
        result.get(timeout=0)


def test_ignore_passes_none_on(drain: Drain) -> None:
    result = (ignore.s() | same.s()).apply_async()
    drain()
    assert statuses() == ["SUCCESS", "SUCCESS"]
    assert result.get(timeout=0) is None


def test_result_that_is_needed_is_stored_all_the_same(drain: Drain) -> None:
    result = (unkept.s(3) | add.s(1)).apply_async()
    drain()
    assert result.get(timeout=0) == 4


def test_atomic_job_starts_what_depends_on_it(drain: Drain) -> None:
    result = (atomic.s(1) | add.s(1)).apply_async()
    drain()
    assert result.get(timeout=0) == 3


def test_revoked_parent(drain: Drain) -> None:
    result = chain(add.s(1), add.s(2), add.s(3)).apply_async()
    second = result.parent
    assert second.revoke()
    assert statuses() == ["PENDING", "REVOKED", "FAILURE"]
    drain()
    with pytest.raises(JobRevoked, match="revoked"):
        result.get(timeout=0)


def test_expired_parent(drain: Drain) -> None:
    result = (add.s(1).set(expires=-1) | add.s(2)).apply_async()
    drain()
    assert statuses() == ["REVOKED", "FAILURE"]
    with pytest.raises(JobRevoked, match="expired"):
        result.get(timeout=0)


def test_revoking_a_workflow_revokes_what_has_not_ended(drain: Drain, work: Drain) -> None:
    result = chain(add.s(1), group(add.s(2), add.s(3)), total.s(), add.s(4)).apply_async()
    work()
    assert result.revoke(workflow=True)
    assert statuses() == ["SUCCESS", "REVOKED", "REVOKED", "REVOKED", "REVOKED"]
    assert drain() == []


def test_revoking_a_group(drain: Drain) -> None:
    result = group(add.s(1) | add.s(2), add.s(3)).apply_async()
    assert result.revoke() == 3
    assert statuses() == ["REVOKED"] * 3
    assert result.ready()
    with pytest.raises(JobRevoked):
        result.get(timeout=0)


def test_unknown_job_function_fails_what_depends_on_it(work: Drain, drain: Drain) -> None:
    result = (add.s(1) | add.s(2)).apply_async()
    Job.objects.filter(pending_parents=0).update(name="nowhere", deferrals=10)
    drain()
    assert statuses() == ["FAILURE", "FAILURE"]
    assert result.failed()


# --- errbacks -----------------------------------------------------------------------------------


def errbacks() -> list[Any]:
    """The arguments of the errbacks, in order."""
    return [row.result[0] for row in Job.objects.filter(name=received.name).order_by("id")]


def test_errback_that_has_one_callback_runs(drain: Drain) -> None:
    errback = received.signature(link=received.si("after"), link_error=received.s())
    fail.s().on_error(errback).apply_async()
    drain()
    assert errbacks()[-1] == "after"


def test_errback_is_told_of_the_failure(drain: Drain) -> None:
    result = fail.apply_async(("a",), link_error=received.s())
    drain()
    (failure,) = errbacks()
    assert failure.pop("traceback").startswith("Traceback")
    assert failure == {
        "id": str(result.id),
        "name": fail.name,
        "error_class": "builtins.ValueError",
        "message": "broken",
    }
    assert result.children == [result.children[0]]
    assert result.children[0].parent_id == result.id


def test_errbacks_that_are_immutable_or_workflows(drain: Drain) -> None:
    fail.apply_async(link_error=[received.si("x"), chain(received.s(), received.s())])
    drain()
    rows = Job.objects.filter(name=received.name).order_by("id")
    assert rows[0].result == ["x"]
    assert rows[1].result[0]["name"] == fail.name
    assert rows[2].result == [rows[1].result]


def test_errback_of_a_success_does_not_run(drain: Drain) -> None:
    add.apply_async((1,), link_error=received.s())
    drain()
    assert errbacks() == []


def test_errback_runs_only_when_no_retry_is_left() -> None:
    from tests.workflows.jobs import flaky

    flaky.apply_async((1,), link_error=received.s())
    run_jobs(at=datetime.timedelta(hours=1))
    assert errbacks() == []
    assert Job.objects.get().status == "SUCCESS"


def test_errback_that_cannot_be_enqueued_harms_nothing(
    drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    from django_jobs import signature

    result = fail.apply_async(link_error=[signature("nowhere", ("s3cret",)), received.s()])
    drain()
    assert result.status == "FAILURE"
    assert len(errbacks()) == 1
    assert f"errback not enqueued name={fail.name} id={result.id} errback=nowhere" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("canvas", "number"),
    [
        (chain(add.s(1), fail.s(), add.s(2)), 1),
        (chain(fail.s(), add.s(2), add.s(3)), 1),
        (group(fail.s(), add.s(1), fail.s()), 2),
        (chord([fail.s(), add.s(1), fail.s()], total.s()), 1),
        (chord([add.s(1)], fail.s()), 1),
        (chord([fail.s()], total.s() | add.s(1)), 1),
        (chord([fail.s()], group(total.s(), same.s())), 1),
        (chord([fail.s()], chord([total.s(), same.s()], echo.s())), 1),
        (chord([chord([fail.s()], total.s())], total.s()), 1),
        (chain(fail.s(), group(add.s(1), add.s(2)), total.s()), 1),
        (chain(add.s(1), group(fail.s(), fail.s()), total.s()), 1),
        (chain(add.s(1), chord([add.s(1), fail.s()], total.s()), add.s(1)), 1),
        (chain(add.s(1), chord([add.s(1)], total.s()), fail.s()), 1),
    ],
    ids=repr,
)
def test_errback_of_a_whole_runs_once_for_each_failure(
    drain: Drain, registered: Any, canvas: Any, number: int, eager: bool
) -> None:
    from django_jobs import job

    ran: list[Any] = []

    @job
    def note(failure: Any) -> None:
        ran.append(failure)

    whole = canvas.clone().on_error(note.s())
    if eager:
        whole.apply()
    else:
        whole.apply_async()
        drain()
    assert [failure["name"] for failure in ran] == [fail.name] * number


LOW, HIGH = uuid.UUID(int=5), uuid.UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")


@pytest.mark.parametrize("chosen", [LOW, HIGH])
@pytest.mark.parametrize("which", ["whole", "first", "second"])
def test_errback_of_a_chord_whose_ids_were_chosen(drain: Drain, which: str, chosen: Any) -> None:
    header = [add.s(1), fail.s()]
    whole = chord(header, total.s()).on_error(received.s())
    if which == "whole":
        whole.apply_async(task_id=chosen)
    else:
        header[which == "second"].set(task_id=str(chosen))
        whole.apply_async()
    drain()
    assert len(errbacks()) == 1


def test_errback_of_a_body_is_not_told_of_a_link_before_its_chord(drain: Drain) -> None:
    chain(fail.s(), chord([add.s(1)], total.s().on_error(received.s()))).apply_async()
    drain()
    assert errbacks() == []


def test_errback_of_one_member(drain: Drain) -> None:
    chord([fail.s().on_error(received.s()), add.s(1)], total.s()).apply_async()
    drain()
    assert len(errbacks()) == 1


# --- callbacks of groups ------------------------------------------------------------------------


def test_callback_of_a_success(drain: Drain) -> None:
    result = add.apply_async((1,), link=[add.s(10), echo.s()])
    drain()
    assert result.get(timeout=0) == 1
    assert [child.get(timeout=0) for child in result.children] == [11, [[1], {}]]


def test_callbacks_of_a_group(drain: Drain) -> None:
    whole = group(add.s(1), add.s(2)).on_success(total.s()).on_complete(echo.s("done"))
    result = whole.apply_async()
    drain()
    assert result.get(timeout=0) == [1, 2]
    assert Job.objects.get(name=total.name).result == 3
    summary = {"id": str(result.id), "total": 2, "succeeded": 2, "failed": 0, "revoked": 0}
    assert Job.objects.get(name=echo.name).result == [[summary, "done"], {}]


def test_group_completes_whatever_came_of_its_members(drain: Drain) -> None:
    whole = group(add.s(1), fail.s() | add.s(1), add.s(2)).on_success(total.s())
    result = whole.on_complete(echo.s()).apply_async()
    result[2].revoke()
    drain()
    assert Job.objects.get(name=total.name).status == "FAILURE"
    summary = {"id": str(result.id), "total": 3, "succeeded": 1, "failed": 1, "revoked": 1}
    assert Job.objects.get(name=echo.name).result == [[summary], {}]


def test_empty_group_completes(drain: Drain) -> None:
    group().on_complete(echo.s()).apply_async()
    drain()
    assert Job.objects.get(name=echo.name).result[0][0]["total"] == 0


# --- an operator's retry ------------------------------------------------------------------------


def mend(job: Job) -> None:
    """Let a job succeed next time."""
    Job.objects.filter(pk=job.pk).update(name=same.name)


def failed(number: int = 0) -> Job:
    return Job.objects.filter(name=fail.name).order_by("id")[number]


def test_retry_revives_what_failed_because_of_it(drain: Drain) -> None:
    result = chain(fail.s(1), add.s(2), add.s(3)).apply_async()
    other = (fail.s(1) | add.s(1)).apply_async()
    drain()
    mend(first := failed())
    assert retry([first.pk]) == (1, {})
    assert statuses()[:3] == ["PENDING", "WAITING", "WAITING"]
    drain()
    assert result.__class__(result.id).get(timeout=0) == 6
    assert other.failed()


def test_completion_waits_for_a_revived_job_and_for_the_others(drain: Drain) -> None:
    later = add.s(2).set(countdown=3600)
    group(fail.s() | add.s(1), later).on_complete(echo.s()).apply_async()
    drain()
    member = failed()
    mend(member)
    Job.objects.filter(pk=member.pk).update(args=[1])
    retry([member.pk])
    drain()
    assert Job.objects.get(name=echo.name).status == "WAITING"
    assert Job.objects.filter(status="SCHEDULED").count() == 1


def test_retry_that_fails_again_fails_them_again(drain: Drain) -> None:
    chain(fail.s(1), add.s(2), add.s(3)).apply_async()
    drain()
    first = failed()
    retry([first.pk])
    drain()
    assert statuses() == ["FAILURE"] * 3
    mend(first)
    retry([first.pk])
    drain()
    assert statuses() == ["SUCCESS"] * 3


def test_body_runs_when_all_that_failed_were_retried(drain: Drain) -> None:
    result = chord([fail.s(1), add.s(2), fail.s(3)], total.s() | add.s(10)).apply_async()
    drain()
    one, two = failed(0), failed(1)
    mend(one)
    mend(two)
    assert retry([one.pk]) == (1, {})
    drain()
    body = Job.objects.get(name=total.name)
    assert body.status == "FAILURE"
    assert str(two.pk) in body.error_message
    assert retry([two.pk]) == (1, {})
    drain()
    assert result.__class__(result.id).get(timeout=0) == 16
    assert Job.objects.get(name=total.name).claims == 1


def test_dependent_cannot_be_retried_before_what_it_depends_on(drain: Drain) -> None:
    result = (fail.s() | add.s(1)).apply_async()
    drain()
    done, skipped = retry([result.id])
    assert (done, list(skipped)) == (0, ["depends on a job that did not succeed: retry that one"])


def test_retry_of_a_revoked_job_revives(drain: Drain) -> None:
    result = chain(add.s(1), add.s(2), add.s(3)).apply_async()
    revoke([result.parent.id])
    drain()
    assert retry([result.parent.id]) == (1, {})
    drain()
    assert statuses() == ["SUCCESS"] * 3


def test_success_that_is_run_again_is_waited_for_again(drain: Drain, work: Drain) -> None:
    result = chord([add.s(1), add.s(2)], total.s()).apply_async()
    work(1)
    first = Job.objects.filter(status="SUCCESS").get()
    retry([first.pk])
    assert Job.objects.get(name=total.name).pending_parents == 2
    work(1)
    assert Job.objects.get(name=total.name).status == "WAITING"
    drain()
    assert result.get(timeout=0) == 3
    assert Job.objects.get(name=total.name).claims == 1


@pytest.mark.parametrize("status", ["PENDING", "SCHEDULED", "RETRY", "WAITING"])
def test_ready_dependent_of_a_success_that_is_run_again_waits_again(
    drain: Drain, work: Drain, status: str
) -> None:
    result = (add.s(1, 1) | add.s(5)).apply_async()
    work(1)
    line = "job:some" if status == "WAITING" else None
    Job.objects.filter(pk=result.id).update(status=status, waiting_for=line)
    retry([result.parent.id])
    row = Job.objects.get(pk=result.id)
    assert (row.status, row.waiting_for, row.pending_parents) == ("WAITING", None, 1)
    drain()
    assert result.get(timeout=0) == 7


@pytest.mark.parametrize("parents", [0, 1])
def test_what_is_below_a_success_does_not_fail_with_what_that_took(
    drain: Drain, work: Drain, parents: int
) -> None:
    result = (add.s(1, 1) | add.s(2) | add.s(3)).apply_async()
    work(1)
    work(1)
    line = None if parents else "job:some"
    last = Job.objects.filter(pk=result.id)
    last.update(status="WAITING", pending_parents=parents, waiting_for=line)
    first = Job.objects.get(pk=result.parent.parent.id)
    retry([first.pk])
    Job.objects.filter(pk=first.pk).update(name=fail.name, args=[])
    drain()
    assert last.get().status == "WAITING"
    last.update(status="PENDING", pending_parents=0, waiting_for=None)
    drain()
    assert result.get(timeout=0) == 7


def test_failure_takes_dependents_out_of_the_line_of_a_limit(drain: Drain) -> None:
    result = (fail.s() | add.s(5)).apply_async()
    Job.objects.filter(pk=result.id).update(waiting_for="job:some")
    drain()
    assert Job.objects.get(pk=result.id).waiting_for is None


def test_retry_of_a_member_after_the_group_completed(drain: Drain) -> None:
    group(add.s(1), fail.s(2)).on_complete(echo.s()).apply_async()
    drain()
    mend(member := failed())
    retry([member.pk])
    drain()
    assert statuses().count("SUCCESS") == 4
    assert Job.objects.get(name=echo.name).claims == 1


def test_dependent_retried_after_its_own_failure_takes_the_results_again(drain: Drain) -> None:
    result = (add.s(1) | fail.s()).apply_async()
    drain()
    Job.objects.filter(pk=result.id).update(name=same.name)
    assert retry([result.id]) == (1, {})
    drain()
    assert result.__class__(result.id).get(timeout=0) == 1


# --- what must stay -----------------------------------------------------------------------------


def test_prune_keeps_what_is_still_needed(drain: Drain, work: Drain) -> None:
    result = (add.s(1) | add.s(2)).apply_async()
    work()
    Job.objects.filter(status="SUCCESS").update(prune_at=clock("default", -1))
    assert prune.run_once("default", uuid.uuid4()) == 0
    with pytest.raises(ValueError, match="has a dependent that has not ended"):
        result.parent.forget()
    drain()
    assert result.get(timeout=0) == 3
    assert prune.run_once("default", uuid.UUID(int=0), lease_seconds=0) in (0, 1)


def test_prune_keeps_what_a_retry_would_need(drain: Drain) -> None:
    (add.s(1) | fail.s()).apply_async()
    drain()
    Job.objects.filter(status="SUCCESS").update(prune_at=clock("default", -1))
    assert prune.run_once("default", uuid.uuid4()) == 0
    Job.objects.update(prune_at=clock("default", -1))
    assert Job.objects.count() == 2


def test_result_that_is_gone_fails_what_takes_it(drain: Drain, work: Drain) -> None:
    result = (add.s(1) | add.s(2)).apply_async()
    work()
    Job.objects.filter(status="SUCCESS").delete()
    drain()
    assert result.failed()
    assert "gone" in Job.objects.get().error_message


def break_a_statement(sender: str, **named: Any) -> None:
    for _ in range(2):
        Group.objects.create(name="of the receiver")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("signal", [signals.job_failure, signals.job_enqueued])
def test_receiver_whose_statement_fails_keeps_no_workflow_from_its_end(
    drain: Callable[..., Any], signal: Any
) -> None:
    seen: list[str] = []

    def listen(sender: str, **named: Any) -> None:
        seen.append(sender)

    last = chain(fail.s().on_error(received.s()), add.s(1)).delay()
    try:
        signal.connect(break_a_statement)
        signals.job_failure.connect(listen)
        drain()
    finally:
        signal.disconnect(break_a_statement)
        signals.job_failure.disconnect(listen)
    assert (last.status, last.parent.job.error_class) == ("FAILURE", "builtins.ValueError")
    assert last.job.error_class.endswith("UpstreamFailed")
    assert Job.objects.filter(name=received.name, status="SUCCESS").count() == 1
    # The commit tells of the dependent, and then the slot of its own job.
    assert seen == [add.name, fail.name]


@pytest.mark.parametrize("eager", [False, True])
def test_errback_of_a_header_belongs_to_the_workflow(
    registered: Any, drain: Drain, eager: bool
) -> None:
    roots: list[Any] = []

    @job
    def root(*args: Any) -> None:
        roots.append(current_job.request.root_id)

    canvas = chain(root.si(), chord([fail.si()], total.s().on_error(root.s())))
    result: Any = canvas.apply() if eager else canvas.apply_async()
    drain()
    assert result.failed()
    assert roots == [result.parent.parent.id] * 2
