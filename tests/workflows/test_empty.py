"""Groups without members: what they result in, and how they are found again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from django_jobs import GroupResult, JobDoesNotExist, chain, chord, group
from django_jobs.models import Job
from tests.workflows.jobs import add, become, fail, hear, heard, same, total

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]
EMPTY = [
    (lambda: group(), []),
    (lambda: group([]), []),
    (lambda: chain(group()), []),
    (lambda: group(group()), [[]]),
    (lambda: group(group(), group(group())), [[], [[]]]),
    (lambda: add.chunks([], 3), []),
]


@pytest.mark.parametrize(("make", "wanted"), EMPTY, ids=range(len(EMPTY)))
@pytest.mark.parametrize("how", ["here", "restored", "restored before it ran", "named", "eager"])
def test_result_of_an_empty_group(drain: Drain, make: Any, wanted: Any, how: str) -> None:
    options = {"task_id": uuid.uuid4()} if how == "named" else {}
    result = make().apply() if how == "eager" else make().apply_async(**options)
    if how == "restored before it ran":
        result = GroupResult.restore(result.id)
    drain()
    if how in ("restored", "named"):
        assert result.id == options.get("task_id", result.id)
        result = GroupResult.restore(str(result.id))
    assert isinstance(result, GroupResult)
    assert result.get(timeout=0) == result.join(timeout=0) == wanted
    assert async_to_sync(result.aget)(timeout=0) == wanted
    assert list(result.iterate(timeout=0)) == []
    assert (len(result), len(result.children), result.jobs) == (len(wanted), len(wanted), [])
    assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (
        True, True, False, False,
    )  # fmt: skip
    assert (result.completed_count(), result.progress()["total"], result.parent) == (0, 0, None)
    assert result.revoke() == result.revoke(terminate=True) == 0
    result.forget()
    assert not Job.objects.live().exists()


def test_only_what_was_enqueued_is_found() -> None:
    with pytest.raises(JobDoesNotExist, match="No job belongs to a group"):
        GroupResult.restore(uuid.uuid4())


def test_empty_group_among_others_is_restored_at_its_place(drain: Drain) -> None:
    result = group(group(), add.s(1), group(group(), add.s(2))).apply_async()
    drain()
    restored = GroupResult.restore(result.id)
    assert restored.get(timeout=0) == result.get(timeout=0) == [[], 1, [[], 2]]
    assert [len(each) if isinstance(each, GroupResult) else 1 for each in restored] == [0, 1, 2]


def test_row_of_an_empty_group_goes_to_the_group_s_queue(drain: Drain) -> None:
    group().set(queue="own").apply_async(priority=7)
    row = Job.objects.get()
    assert (row.queue, row.name) == ("own", "django_jobs.accumulate")
    drain()
    row.refresh_from_db()
    assert (row.status, row.result) == ("SUCCESS", [])


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: group() | total.s(), 0),
        (lambda: chord([], total.s()), 0),
        (lambda: chord(group(group()), same.s()), [[]]),
        (lambda: add.s(1) | group(), []),
        (lambda: add.s(1) | group() | total.s(), 0),
        (lambda: add.s(1) | group(group()) | same.s(), [[]]),
        (lambda: group(add.s(1)) | group(), []),
        (lambda: chord([add.s(1)], group()), []),
        (lambda: chord([chord([], same.s())], same.s()), [[]]),
        (lambda: become.s(group()), []),
        (lambda: become.s(group(group())) | same.s(), [[]]),
    ],
    ids=range(11),
)
def test_empty_group_inside_a_workflow(drain: Drain, make: Any, wanted: Any, eager: bool) -> None:
    result = make().apply() if eager else make().apply_async()
    drain()
    assert result.get(timeout=0) == wanted
    assert result.revoke() is False
    parent = result.parent
    if isinstance(parent, GroupResult) and not parent.jobs:
        assert parent.join(timeout=0) == ([] if not len(parent) else [[]])
        assert parent.revoke() == 0
        assert parent.ready()
    assert not Job.objects.live().exists()


@pytest.mark.parametrize("eager", [False, True])
def test_callbacks_of_an_empty_group_run(drain: Drain, eager: bool) -> None:
    heard.clear()
    whole = group().on_success(hear.s("all")).on_complete(hear.s("end")).on_error(fail.s())
    whole.apply() if eager else whole.apply_async()
    drain()
    assert len(heard) == 2
    found = {name: value for value, name in heard}
    assert found["all"] == []
    assert {key: found["end"][key] for key in ("total", "succeeded", "failed")} == {
        "total": 0, "succeeded": 0, "failed": 0,
    }  # fmt: skip
    assert not Job.objects.live().exists()
