"""The handles on workflows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs import (
    ArgumentError,
    AsyncResult,
    GroupResult,
    JobDoesNotExist,
    ResultSet,
    ResultTimeout,
    chain,
    chord,
    group,
)
from django_jobs.models import Job
from tests.waiting import LONG
from tests.workflows.jobs import add, become, fail, same, total, widen

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]


def test_states_of_a_group(drain: Drain, work: Drain) -> None:
    result = group(add.s(1), fail.s(), add.s(2)).apply_async()
    assert (result.ready(), result.waiting(), result.completed_count()) == (False, True, 0)
    assert not result.failed()
    work(1)
    assert (result.ready(), result.completed_count()) == (False, 1)
    work(1)
    assert result.failed()
    assert result.waiting()
    drain()
    assert (result.ready(), result.waiting(), result.successful()) == (True, False, False)
    assert result.completed_count() == 2
    assert len(result) == 3
    assert [each.status for each in result] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert result[1].failed()


def test_get_of_a_group(drain: Drain) -> None:
    result = group(add.s(1), add.s(2)).apply_async()
    with pytest.raises(ResultTimeout, match="2 jobs had not ended"):
        result.get(timeout=0)
    drain()
    assert result.get(timeout=0) == result.join(timeout=0) == [1, 2]


def test_get_raises_the_first_failure_at_once(work: Drain) -> None:
    result = group(fail.s(), add.s(1)).apply_async()
    work(1)
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=LONG)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0, propagate=False)
    work(1)
    error, value = result.get(timeout=0, propagate=False)
    assert isinstance(error, ValueError)
    assert value == 1


def test_looks_are_one_query_for_all_members(drain: Drain) -> None:
    result = group(add.s(number) for number in range(50)).apply_async()
    with CaptureQueriesContext(connection) as looked:
        assert not result.ready()
    assert len(looked) == 1
    drain()
    with CaptureQueriesContext(connection) as got:
        assert result.get(timeout=0) == list(range(50))
    assert len(got) == 2


def test_iterate_returns_results_as_they_come(work: Drain) -> None:
    result = group(add.s(1), add.s(2), add.s(3).set(priority=5)).apply_async()
    values = result.iterate(timeout=LONG)
    work(1)
    assert next(values) == 3
    work(1)
    assert next(values) == 1
    work(1)
    assert list(values) == [2]
    with pytest.raises(ResultTimeout):
        list(group(add.s(1)).apply_async().iterate(timeout=0))


def test_iterate_raises_a_failure(drain: Drain) -> None:
    result = group(fail.s(), add.s(1)).apply_async()
    drain()
    with pytest.raises(ValueError, match="broken"):
        list(result.iterate(timeout=0))
    error, value = result.iterate(timeout=0, propagate=False)
    assert (str(error), value) == ("broken", 1)


def test_restore_from_the_id_alone(drain: Drain) -> None:
    shapes = [
        group(add.s(1), add.s(2)),
        group(add.s(1), group(add.s(2), group(), add.s(3)), add.s(4) | add.s(5)),
        add.s(0) | group(add.s(1), add.s(2)),
        group(chord([add.s(1), add.s(2)], total.s()), add.s(1) | group(add.s(2), add.s(3))),
    ]
    results = [shape.apply_async() for shape in shapes]
    assert results[0].save() is results[0]
    drain()
    values = [GroupResult.restore(str(result.id)).get(timeout=0) for result in results]
    assert values == [result.get(timeout=0) for result in results]
    assert values == [[1, 2], [1, [2, [], 3], 9], [1, 2], [3, [3, 4]]]


@pytest.mark.parametrize("chosen", ["00000000-0000-4000-8000-000000000005", "f" * 32])
def test_restore_keeps_the_order_of_members_whose_ids_were_chosen(
    drain: Drain, chosen: str
) -> None:
    for position in range(3):
        members = [add.s(1, 1), become.s(group(add.s(2, 2))), widen.s(7, add.s(4, 4))]
        members[position].set(task_id=chosen)
        header = (group(members) | total.si([])).apply_async().parent
        drain()
        assert header.get(timeout=0) == [2, [4], 7]
        assert GroupResult.restore(header.id).get(timeout=0) == [2, [4], 7, 8]
        Job.objects.all().delete()


def test_unknown_group_is_an_error() -> None:
    with pytest.raises(JobDoesNotExist):
        GroupResult.restore(uuid.uuid4())
    with pytest.raises(ArgumentError, match="UUID"):
        GroupResult.restore("x")


def test_member_that_is_gone_is_an_error() -> None:
    result = group(add.s(1), add.s(2)).apply_async()
    Job.objects.filter(pk=result[0].id).delete()
    with pytest.raises(JobDoesNotExist, match=str(result[0].id)):
        result.ready()


def test_set_of_any_results(drain: Drain) -> None:
    several = ResultSet([add.delay(1)])
    several.add(add.delay(2))
    several.add(group(add.s(3)).apply_async())
    drain()
    assert several.get(timeout=0) == [1, 2, [3]]
    assert several.successful()
    several.forget()
    assert Job.objects.count() == 0
    assert ResultSet([]).get(timeout=0) == []


def test_parents_and_children(drain: Drain) -> None:
    result = (add.s(1) | group(add.s(2), add.s(3)) | total.s()).apply_async()
    again = AsyncResult(result.id)
    assert [each.id for each in again.parent] == [each.id for each in result.parent]
    assert again.parent[0].parent == result.parent.parent
    first = AsyncResult(result.parent.parent.id)
    assert first.parent is None
    assert [child.id for child in first.children] == [each.id for each in result.parent]
    assert again.root_id == first.root_id == first.id
    assert again.parent_id == result.parent[1].id
    assert again.parent[0].group_id == result.parent.id
    assert again.group_id is None


def test_progress_of_a_whole_workflow(drain: Drain, work: Drain) -> None:
    other = add.delay(1)
    result = chain(add.s(1), group(add.s(2), fail.s()), total.s(), add.s(1)).apply_async()
    assert result.workflow_progress() == {"done": 0, "total": 5, "failed": 0}
    work(2)
    assert result.workflow_progress() == {"done": 1, "total": 5, "failed": 0}
    drain()
    assert result.workflow_progress() == {"done": 5, "total": 5, "failed": 3}
    assert other.workflow_progress() == {"done": 1, "total": 1, "failed": 0}
    with CaptureQueriesContext(connection) as asked:
        assert result.parent.parent.progress() == {"done": 3, "total": 3, "failed": 1}
    assert len(asked) == 1


def test_long_chain_is_walked_to_its_end() -> None:
    result = chain([add.s(0)] + [add.s(1)] * 1_500).apply_async()
    assert result.workflow_progress()["total"] == 1_501
    first = Job.objects.order_by("id").first()
    AsyncResult(first.pk).revoke()
    assert not Job.objects.live().exists()
    assert Job.objects.filter(status="FAILURE").count() == 1_500


def test_invert_waits_for_the_result(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}
    assert ~(add.s(1) | add.s(2)) == 3
    assert ~group(add.s(1), same.s([2])) == [1, [2]]


def test_asynchronous_twins(drain: Drain) -> None:
    async def enqueue() -> Any:
        first = await (add.s(1) | add.s(2)).aapply_async()
        return first, await group(add.s(), add.s(1)).adelay(5)

    async def ask() -> None:
        assert await single.aget(timeout=LONG) == 3
        assert await several.aget(timeout=LONG) == await several.ajoin(timeout=LONG) == [5, 6]
        assert await several.aready()
        assert await several.asuccessful()
        assert not await several.afailed()
        assert not await several.awaiting()
        assert await several.acompleted_count() == 2
        assert (await several.aprogress())["done"] == 2
        assert (await single.aworkflow_progress())["done"] == 2
        assert sorted([value async for value in several.aiterate(timeout=LONG)]) == [5, 6]
        assert await (await GroupResult.arestore(several.id)).aget(timeout=LONG) == [5, 6]
        assert await several.arevoke() == 0
        await several.aforget()

    single, several = async_to_sync(enqueue)()
    drain()
    async_to_sync(ask)()


def test_parents_of_what_ran_here_have_their_results() -> None:
    result: Any = chain(add.s(1), group(add.s(2), add.s(3)), total.s()).apply()
    assert result.get() == 7
    assert isinstance(result.parent, GroupResult)
    assert [each.get() for each in result.parent] == [3, 4]
    assert result.parent.parent.get() == 1
