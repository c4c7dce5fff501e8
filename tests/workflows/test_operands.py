"""What a canvas is made of stays as it was, whatever becomes of the canvas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs import Canvas, Chain, Chord, Group, Signature, chain, chord, group, signature
from tests.workflows.jobs import add, same, total

calls = st.builds(
    lambda number, options, immutable: add.signature((number,), immutable=immutable, **options),
    st.integers(0, 9),
    st.fixed_dictionaries(
        {},
        optional={
            "queue": st.just("q"),
            "headers": st.just({"a": 1}),
            "link": st.just([same.s()]),
            "link_error": st.just(same.s() | same.s()),
        },
    ),
    st.booleans(),
)
canvases = st.recursive(
    calls,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: chain(*parts)),
        st.lists(inner, max_size=2).map(group),
        st.builds(lambda parts, body: chord(parts, body), st.lists(inner, max_size=2), inner),
        st.builds(lambda canvas: canvas.set(priority=3, link=same.s()), inner),
    ),
    max_leaves=6,
)

#: What makes one canvas of two others.
MAKERS: dict[str, Callable[[Canvas, Canvas], Canvas]] = {
    "or": lambda one, two: one | two,
    "form | canvas": lambda one, two: dict(one) | two,
    "chain": chain,
    "chain of a list": lambda one, two: chain([one, two]),
    "Chain": lambda one, two: Chain([one, two]),
    "chain of a chain": lambda one, two: chain(chain(one), two),
    "group": group,
    "group of a generator": lambda one, two: group(each for each in (one, two)),
    "Group": lambda one, two: Group([one, two]),
    "nested": lambda one, two: group(group(one), group(two)),
    "chord": lambda one, two: chord([one], two),
    "chord of one": chord,
    "Chord": lambda one, two: Chord(group(one), two),
    "Chord of a group": lambda one, two: Chord(group(one, two), one),
    "group | body": lambda one, two: group(one) | two,
    "clone": lambda one, two: one.clone(),
    "link": lambda one, two: add.s(1).set(link=one, link_error=[two]).clone(),
    "linked part": lambda one, two: group(add.signature((1,), link=one, link_error=two)),
    "from the form": lambda one, two: signature(json.loads(json.dumps(one))),
    "call": lambda one, two: Signature(add.name, [1], {}, {"link": one}).clone(),
}


def parts_of(value: Any) -> Iterator[Canvas]:
    if isinstance(value, Canvas):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, (dict, list)):
            yield from parts_of(each)


def change(canvas: Canvas) -> None:
    """Change all that can be changed, in every part."""
    for part in list(parts_of(canvas)):
        part.set(queue="other", countdown=1, immutable=True)
        part.link(total.s())
        part.link_error(total.s())
        part.options["headers"] = {"b": 2}
        if isinstance(part, Group):
            part.on_complete(total.s()).on_success(total.s())
            part.tasks.append(total.s())
        if isinstance(part, Signature):
            part.args.append(1)
            part.kwargs["b"] = 2


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@settings(max_examples=8, derandomize=True)
@given(one=canvases, two=canvases)
def test_no_canvas_changes_its_operands(
    make: Callable[[Canvas, Canvas], Canvas], one: Canvas, two: Canvas
) -> None:
    before = json.dumps([one, two])
    change(make(one, two))
    assert json.dumps([one, two]) == before


@pytest.mark.django_db
@settings(max_examples=10, derandomize=True)
@given(canvas=canvases, callback=canvases)
def test_enqueuing_changes_no_signature(canvas: Canvas, callback: Canvas) -> None:
    before = json.dumps([canvas, callback])
    options: Any = {"link": callback, "link_error": [callback], "queue": "q", "headers": {"c": 1}}
    canvas.apply_async((1,), {}, **options)
    add.apply_async((1,), **options)
    add.s(1).apply_async((1,), **options)
    assert json.dumps([canvas, callback]) == before


def test_callback_that_is_linked_later_is_the_same() -> None:
    first, second, third = add.s(1), add.s(2), add.s(3)
    first.link(second)
    second.link(third)
    assert first.options["link"][0].options["link"] == [third]
