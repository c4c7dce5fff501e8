"""Workflows run to the stated depth on every database, and one past it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs import chain, chord, group, signature
from django_jobs.define.canvas import MOST_NESTED, Canvas
from django_jobs.models import Job
from tests.workflows.jobs import add, fail, received, same

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]


def in_group(inner: Canvas) -> Canvas:
    return group(inner)


def in_header(inner: Canvas) -> Canvas:
    return chord([inner], same.s())


def in_body(inner: Canvas) -> Canvas:
    return chord([add.si(1)], inner)


def in_chain(inner: Canvas) -> Canvas:
    return chain(add.si(1), inner).set(priority=1)


def in_link(inner: Canvas) -> Canvas:
    outer = add.si(1)
    outer.link(inner)
    return outer


def in_errback(inner: Canvas) -> Canvas:
    return fail.si().on_error(inner)


WAYS = [in_group, in_header, in_body, in_chain, in_link, in_errback]


def nested(ways: list[Callable[[Canvas], Canvas]], inner: Canvas) -> Canvas:
    for way in ways:
        inner = way(inner)
    return inner


@pytest.mark.parametrize("way", WAYS)
def test_workflow_of_the_greatest_depth_runs(drain: Drain, way: Callable[[Canvas], Canvas]) -> None:
    nested([way] * MOST_NESTED, received.si("innermost")).apply_async()
    drain()
    innermost = Job.objects.get(name=received.name)
    assert (innermost.status, innermost.result) == ("SUCCESS", ["innermost"])
    assert not Job.objects.live().exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("depth", [MOST_NESTED + 1, 2_000])
def test_deeper_one_is_refused_with_the_depth_that_is_allowed(
    way: Callable[[Canvas], Canvas], depth: int
) -> None:
    with pytest.raises(ValueError, match="A workflow nests at most 32 deep"):
        nested([way] * depth, received.si()).apply_async()
    assert not Job.objects.exists()


@pytest.mark.parametrize("kind", ["link", "link_error"])
def test_callbacks_linked_one_to_the_next_afterwards_are_refused(kind: str) -> None:
    first = last = add.si(1)
    for _ in range(2_000):
        last = getattr(last, kind)(add.si(1))
    with pytest.raises(ValueError, match="A workflow nests at most 32 deep"):
        first.apply_async()
    assert not Job.objects.exists()


@pytest.mark.parametrize("kind", ["link", "link_error"])
def test_callbacks_in_a_circle_are_refused(kind: str) -> None:
    one, other = add.si(1), add.si(2)
    getattr(one, kind)(other)
    getattr(other, kind)(one)
    with pytest.raises(ValueError, match="A workflow nests at most 32 deep"):
        one.apply_async()
    assert not Job.objects.exists()


def test_form_that_nests_too_deep_is_refused() -> None:
    form: dict[str, Any] = {"task": add.name}
    for _ in range(2_000):
        form = {"group": [form]}
    with pytest.raises(ValueError, match="A workflow nests at most 32 deep"):
        signature(form)


@settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(WAYS), max_size=MOST_NESTED + 6))
def test_any_nesting_is_refused_at_the_call_or_runs(
    drain: Drain, ways: list[Callable[[Canvas], Canvas]]
) -> None:
    Job.objects.all().delete()
    if len(ways) > MOST_NESTED:
        with pytest.raises(ValueError, match="A workflow nests at most 32 deep"):
            nested(ways, received.si("innermost")).apply_async()
        assert not Job.objects.exists()
        return
    nested(ways, received.si("innermost")).apply_async()
    drain()
    assert not Job.objects.live().exists()
    innermost = list(Job.objects.filter(name=received.name).values_list("status", flat=True))
    # What stands beside a job that fails, and needs its success, does not run.
    assert innermost in (["SUCCESS"], ["FAILURE"], [])
