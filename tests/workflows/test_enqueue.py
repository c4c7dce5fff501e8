"""How a workflow is written: one transaction, few statements, options where they belong."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import AsyncResult, DuplicateKey, GroupResult, QueueFull, chain, chord, group
from django_jobs.maintenance import promote
from django_jobs.models import Edge, Job
from tests.workflows.jobs import add, count, echo, fail, only_one, same, total

pytestmark = pytest.mark.django_db


def rows() -> list[Job]:
    return list(Job.objects.order_by("id"))


def test_rows_of_a_workflow() -> None:
    result = (add.s(1) | group(add.s(2), add.s(3)) | total.s()).apply_async()
    first, *members, body = rows()
    assert [row.status for row in rows()] == ["PENDING", "WAITING", "WAITING", "WAITING"]
    assert [row.pending_parents for row in rows()] == [0, 1, 1, 2]
    assert [row.has_dependents for row in rows()] == [True, True, True, False]
    assert {row.root_id for row in rows()} == {first.pk}
    assert [row.parent_id for row in rows()] == [None, first.pk, first.pk, members[1].pk]
    assert members[0].group_id == members[1].group_id is not None
    assert result.id == body.pk
    assert [each.id for each in result.parent] == [row.pk for row in members]
    assert result.parent.parent.id == first.pk
    assert result.parent.id == members[0].group_id


def test_nothing_stays_of_a_workflow_whose_transaction_rolls_back() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        (add.s(1) | add.s(2)).apply_async()
        raise RuntimeError
    assert (Job.objects.count(), Edge.objects.count()) == (0, 0)


@pytest.mark.parametrize("canvas", [chain(add.s(1), add.s()), group(add.s(1), add.s())])
def test_nothing_is_written_when_one_call_is_wrong(canvas: Any) -> None:
    with pytest.raises(TypeError):
        canvas.apply_async((1, 2, 3))
    with pytest.raises(TypeError):
        (canvas | add.s(1, 2, 3)).apply_async()
    assert Job.objects.count() == 0


@pytest.mark.parametrize("members", [10, 900])
def test_statements_do_not_grow_with_members(members: int, work: Callable[..., Any]) -> None:
    with CaptureQueriesContext(connection) as enqueued:
        chord([add.s(number) for number in range(members)], total.s()).apply_async()
    assert len(enqueued) <= 4  # with a savepoint
    with CaptureQueriesContext(connection) as worked:
        work(1_000)
    assert Job.objects.get(name=total.name).status == "PENDING"
    # A claim, and a record with what it does to the body. The limits are read now and then only.
    limits = ("SELECT django_jobs_queue.", "SELECT django_jobs_limit.")
    texts = [re.sub('["`]', "", query["sql"]) for query in worked.captured_queries]
    others = [text for text in texts if not text.startswith(limits)]
    assert len(others) <= 14


def test_arguments_of_the_call_go_to_the_first_jobs(drain: Callable[..., Any]) -> None:
    results = [
        (add.s() | add.s(1)).apply_async((5,)),
        group(add.s(), add.s(10)).apply_async((5,)),
        chord([add.s(), add.s(10)], total.s()).apply_async((5,)),
        add.s(1).delay(5),
        echo.s(1, x=1, y=1).apply_async((5,), {"x": 2}),
    ]
    drain()
    values = [result.get(timeout=0) for result in results]
    assert values == [6, [5, 15], 20, 6, [[5, 1], {"x": 2, "y": 1}]]


def test_options_of_the_whole() -> None:
    whole = chain(add.s(1), add.s(2).set(queue="own", priority=1), add.s(3))
    whole.apply_async(queue="all", priority=7, headers={"h": 1}, time_limit=5, ignore_result=True)
    assert [row.queue for row in rows()] == ["all", "own", "all"]
    assert [row.priority for row in rows()] == [7, 1, 7]
    assert all(row.headers == {"h": 1} for row in rows())
    assert all(row.options["time_limit"] == 5 for row in rows())


def test_countdown_of_the_whole_is_for_the_first_jobs() -> None:
    (group(add.s(1), add.s(2)) | total.s()).apply_async(countdown=60)
    assert [row.status for row in rows()] == ["SCHEDULED", "SCHEDULED", "WAITING"]
    assert [row.run_at is None for row in rows()] == [False, False, True]


def test_countdown_and_expires_of_a_link_count_from_its_turn(work: Callable[..., Any]) -> None:
    chain(add.s(1), add.s(2).set(countdown=60, expires=90)).apply_async()
    assert (rows()[1].run_at, rows()[1].expires_at) == (None, None)
    work()
    second = rows()[1]
    assert second.status == "SCHEDULED"
    assert 55 < (second.run_at - timezone.now()).total_seconds() < 65
    assert 85 < (second.expires_at - timezone.now()).total_seconds() < 95
    assert promote.run_once("default") > 0


def test_eta_of_a_link_is_kept(work: Callable[..., Any]) -> None:
    eta = timezone.now() + datetime.timedelta(hours=1)
    chain(add.s(1), add.s(2).set(eta=eta), add.s(3)).apply_async()
    work()
    assert [row.status for row in rows()] == ["SUCCESS", "SCHEDULED", "WAITING"]
    assert rows()[1].run_at == eta


def test_expires_of_a_link_with_an_eta_counts_from_its_turn(work: Callable[..., Any]) -> None:
    eta = timezone.now() + datetime.timedelta(hours=1)
    chain(add.s(1), add.s(2).set(eta=eta, expires=90)).apply_async()
    work()
    second = rows()[1]
    assert (second.status, second.run_at) == ("SCHEDULED", eta)
    assert 60 < (second.expires_at - timezone.now()).total_seconds() < 95


def test_expires_of_the_whole_is_one_moment_for_all() -> None:
    chain(add.s(1), add.s(2)).apply_async(expires=60)
    assert rows()[0].expires_at == rows()[1].expires_at is not None


def test_task_id_names_what_the_workflow_results_in() -> None:
    given = uuid.uuid4()
    assert (add.s(1) | add.s(2)).apply_async(task_id=given).id == given
    assert rows()[-1].pk == given or Job.objects.filter(pk=given, pending_parents=1).exists()
    with pytest.raises(DuplicateKey):
        (add.s(1) | add.s(2)).apply_async(task_id=given)
    several = uuid.uuid4()
    assert group(add.s(1), add.s(2)).apply_async(task_id=several).id == several
    assert Job.objects.filter(group_id=several).count() == 2


def test_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="Unknown option"):
        (add.s(1) | add.s(2)).apply_async(colour="red")
    with pytest.raises(TypeError, match="Unknown option"):
        (add.s(1).set(colour="red") | add.s(2)).apply_async()


def test_queues_of_two_databases_are_refused(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"far": {"DATABASE": "other"}}}
    with pytest.raises(ImproperlyConfigured, match="one workflow must live on one database"):
        (add.s(1) | add.s(2).set(queue="far")).apply_async()


def test_full_queue_takes_no_workflow(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"MAX_PENDING": 2}}}
    (add.s(1) | group(add.s(2), add.s(3), add.s(4))).apply_async()  # one is pending
    with pytest.raises(QueueFull):
        group(add.s(1), add.s(2)).apply_async()
    assert Job.objects.count() == 4


def test_live_twin_refuses_a_workflow() -> None:
    live = only_one.delay(1)
    with pytest.raises(DuplicateKey, match=str(live.id)):
        (only_one.si(1) | add.s(2)).apply_async()
    with pytest.raises(DuplicateKey):
        group(only_one.s(2), only_one.s(2)).apply_async()
    assert Job.objects.count() == 1
    with pytest.raises(ValueError, match=r"\.si\(\)"):
        (add.s(1) | only_one.s()).apply_async()


def test_workflow_started_from_inside(drain: Callable[..., Any]) -> None:
    from tests.workflows.jobs import spawn

    result = spawn.delay(1)
    drain()
    (chained, plain) = map(uuid.UUID, result.get(timeout=0))
    assert Job.objects.get(pk=chained).root_id == result.id
    assert Job.objects.get(pk=plain).parent_id == result.id
    assert {child.uuid for child in result.children} >= {plain}


def test_callback_of_delay_many(drain: Callable[..., Any]) -> None:
    results = add.delay_many([(1,), (2,)], link=add.s(10))
    drain()
    assert [result.get(timeout=0) for result in results] == [1, 2]
    assert [result.children[0].get(timeout=0) for result in results] == [11, 12]


def test_group_after_a_big_group_is_tied_by_one_job(drain: Callable[..., Any]) -> None:
    whole = group(add.s(number) for number in range(150)) | group([same.s()] * 100) | count.s()
    result = whole.apply_async()
    assert Edge.objects.count() == 150 + 100 + 100
    drain(1000)
    assert result.get(timeout=0) == 100


def test_eager_setting_runs_a_workflow_here(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    result = (add.s(1) | group(add.s(2), add.s(3))).apply_async()
    assert result.get() == [3, 4]
    assert (result.ready(), result.successful(), result.completed_count()) == (True, True, 2)
    assert result.progress() == {"done": 2, "total": 2, "failed": 0}
    assert add.apply_async((1,), link=add.s(1)).get() == 1
    with pytest.raises(ValueError, match="broken"):
        (fail.s() | add.s(1)).apply_async().get()
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("call", "kind", "wanted"),
    [
        (lambda: chain(add.s(3, 4))(), AsyncResult, 7),
        (lambda: chain(add.s(4))(3), AsyncResult, 7),
        (lambda: chain([add.s(3, 4)])(), AsyncResult, 7),
        (lambda: chain(chain(add.s(3, 4)))(), AsyncResult, 7),
        (lambda: chain(add.s(3, 4)).apply_async(), AsyncResult, 7),
        (lambda: chain(add.s(4)).delay(3), AsyncResult, 7),
        (lambda: chain(add.s(3, 4)).apply(), AsyncResult, 7),
        (lambda: chain(add.s(3), add.s(4))(), AsyncResult, 7),
        (lambda: chain(group(add.s(3, 4)))(), GroupResult, [7]),
        (lambda: group(add.s(3, 4))(), GroupResult, [7]),
        (lambda: group([add.s(3, 4)])(), GroupResult, [7]),
        (lambda: group(chain(add.s(3, 4)))(), GroupResult, [7]),
        (lambda: group(add.s(4)).apply_async((3,)), GroupResult, [7]),
        (lambda: chord(add.s(3, 4))(total.s()), AsyncResult, 7),
        (lambda: chord([add.s(3, 4)])(total), AsyncResult, 7),
        (lambda: chord(add.s(3, 4), total.s())(), AsyncResult, 7),
        (lambda: chord([chain(add.s(3, 4))], chain(total.s()))(), AsyncResult, 7),
    ],
)
@pytest.mark.parametrize("eager", [False, True])
def test_a_workflow_of_one_is_enqueued(
    call: Any, kind: type, wanted: Any, eager: bool, drain: Any, settings: Any
) -> None:
    settings.DJANGO_JOBS = {"EAGER": eager}
    result = call()
    assert isinstance(result, kind)
    drain()
    assert result.get(timeout=0) == wanted


def test_chain_of_one_is_its_link() -> None:
    first = only_one.delay(5)
    assert chain(only_one.s(5))() == first
    named = chain(add.s(1)).apply_async(task_id=uuid.uuid4())
    assert named.parent is None
    row = Job.objects.exclude(pk=first.id).get()
    assert (row.root_id, row.has_dependents, row.options) == (None, False, None)
