"""Canvases as data: the algebra, the form, the words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_jobs import Chain, Chord, Group, Signature, chain, chord, group, job, signature
from django_jobs.exceptions import UnknownJob
from tests.workflows.jobs import add, echo, mul, received, total


@pytest.mark.parametrize(
    ("canvas", "code"),
    [
        (add.s(2, b=3), "add.s(2, b=3)"),
        (add.si(2), "add.si(2)"),
        (add.signature((1,), queue="mail"), "add.s(1).set(queue='mail')"),
        (add.s(1) | mul.s(2), "add.s(1) | mul.s(2)"),
        (chain(add.s(1), mul.s(2)).set(priority=1), "(add.s(1) | mul.s(2)).set(priority=1)"),
        (group(add.s(1), add.s(2)), "group(add.s(1), add.s(2))"),
        (group(add.s(1)) | total.s(), "chord([add.s(1)], total.s())"),
        (chord([add.s(1)], total.s()) | mul.s(2), "chord([add.s(1)], total.s() | mul.s(2))"),
        (add.s(1).on_error(received.s()), "add.s(1).on_error(received.s())"),
        (group(add.s(1)).on_complete(received.s()), "group(add.s(1)).on_complete(received.s())"),
    ],
)
def test_repr_reads_like_the_code(canvas: Any, code: str) -> None:
    assert repr(canvas) == code
    assert signature(json.loads(json.dumps(canvas))) == canvas


def test_repr_hides_secrets(registered: Any) -> None:
    @job(sensitive=["pin"])
    def login(user: str, pin: str, password: str = "") -> None: ...

    assert "1234" not in repr(login.s("me", "1234", password="1234"))
    assert "1234" not in repr(login.s("me", "x").set(headers={"token": "1234"}))


def test_algebra() -> None:
    a, b, c = add.s(1), add.s(2), total.s()
    assert isinstance(a | b, Chain)
    assert (a | b) | c == a | (b | c) == chain(a, b, c) == chain([a, b, c])
    assert isinstance(group(a, b) | c, Chord)
    assert group(a, b) | c == chord([a, b], c) == chord(group(a, b), c)
    assert (group(a, b) | c).tasks == [a, b]
    assert (group(a, b) | c | b).body == c | b
    assert (a | group(a, b)).tasks == [a, group(a, b)]
    assert isinstance(group(a) | group(b), Chord)
    assert chain(a) == chain([a]) == chain(a for _ in range(1)) == Chain([a])
    assert chain(a) | b == a | b == chain(chain(a), chain(b))
    assert group(a for _ in range(2)) == group(a, a)
    assert isinstance(chain(a, b).set(queue="x") | c, Chain)
    assert (chain(a, b).set(queue="x") | c).tasks[1] == c


@pytest.mark.parametrize("make", [chain, lambda: chain([]), lambda: Chain([])])
def test_empty_chain_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="at least one signature"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: group([1]),
        lambda: group("ab"),
        lambda: group(None),
        lambda: group(print),
        lambda: chain(add.s(), print),
        lambda: chord(print, add.s()),
        lambda: chord(None, add.s()),
        lambda: print | add.s(),
        lambda: chord([add.s()], 3),
        lambda: group(3),
        lambda: add.s() | 3,
        lambda: add.s().link(3),
        lambda: add.s().on_error(print),
        lambda: add.apply_async((1,), link=print),
        lambda: add.apply_async((1,), link_error=3),
        lambda: group(add.s()).on_complete(print),
    ],
)
def test_what_is_no_signature_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match="signatures, ") as caught:
        make()
    assert ("@job" in str(caught.value)) == ("print" in str(caught.value))


ONE = [
    lambda one: one(add),
    lambda one: one(add.s()),
    lambda one: one([add]),
    lambda one: one((add.s(),)),
    lambda one: one(add.s() for _ in range(1)),
    lambda one: one({add.name: add.s()}.values()),
    lambda one: one(dict(add.s())),
    lambda one: one(json.loads(json.dumps(add.s()))),
    lambda one: one(filter(None, [add])),
]


@pytest.mark.parametrize("give", ONE, ids=range(len(ONE)))
def test_one_signature_is_as_good_as_several(give: Any) -> None:
    assert give(chain) == give(Chain) == Chain([add.s()])
    assert give(group) == give(Group) == Group([add.s()])
    assert give(lambda header: chord(header, total)) == chord([add.s()], total.s())
    assert give(lambda header: Chord(header, total.s())) == chord([add.s()], total.s())
    assert give(lambda tasks: Group(tasks) | total) == chord([add.s()], total.s())


def test_header_of_one_that_is_a_workflow() -> None:
    assert chord(add.s() | add.s(1), total.s()).tasks == [chain(add.s(), add.s(1))]
    inner = chord([add.s()], total.s())
    assert chord(inner, total.s()).tasks == [inner]
    assert chord(group(add, mul), total).tasks == [add.s(), mul.s()]
    assert chord(json.loads(json.dumps(group(add, mul))), total) == chord([add, mul], total)


def test_job_function_stands_for_its_call() -> None:
    assert add | mul.s() == add.s() | mul == chain(add, mul)
    assert add.s(1).on_error(received) == add.s(1).on_error(received.s())
    assert add.s(1).link(received) == received.s()
    assert add.signature((1,), link=received, link_error=[received]).options == {
        "link": [received.s()], "link_error": [received.s()],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["stamp", "freeze", "replace", "skew"])
def test_methods_of_celery_name_what_to_use(name: str) -> None:
    for canvas in (add.s(), chain(add.s()), group(add.s())):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'. Use "):
            getattr(canvas, name)
    with pytest.raises(AttributeError, match=r"Signature has no attribute 'nothing'\.$"):
        add.s().nothing  # noqa: B018


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"task": 3},
        {"task": "x", "args": 3},
        {"task": "x", "options": 3},
        {"task": "x", "more": 1},
        {"chord": {"task": 3}, "body": None},
        {"group": [{}]},
    ],
)
def test_form_that_is_none_is_refused(form: Any) -> None:
    with pytest.raises(ValueError, match=r"form|options"):
        signature(form)


def test_signature_by_name() -> None:
    made = signature(add.name, (1,), {"b": 2}, countdown=3)
    assert made == add.signature((1,), {"b": 2}, countdown=3)
    assert signature(add, args=[1]) == add.s(1)
    assert signature(made) is made
    assert isinstance(made, Signature)
    assert made.type is add
    with pytest.raises(UnknownJob):
        signature("nowhere").apply_async()
    with pytest.raises(TypeError, match="name of a job function"):
        signature(3)


def test_arguments_are_merged() -> None:
    assert add.s(2, b=3).merged([1], {"b": 4}) == ([1, 2], {"b": 4})
    assert add.si(2, b=3).merged([1], {"b": 4}) == ([2], {"b": 3})
    assert add.s(1)(2) == 3


def test_set_and_clone() -> None:
    call = add.s(1)
    assert call.set(queue="a", immutable=True) is call
    other = call.clone().set(queue="b")
    assert (call.options["queue"], other.options["queue"]) == ("a", "b")
    assert call.immutable
    several = group(add.s(1), add.s(2)).set(immutable=True)
    assert all(each["immutable"] for each in several.tasks)
    assert (add.s(1) | add.s(2)).set(immutable=True).tasks[0]["immutable"]
    whole = chord([add.s(1)], total.s()).set(immutable=True)
    assert (whole.tasks[0]["immutable"], whole.body["immutable"]) == (True, False)


def test_callbacks_are_kept_once() -> None:
    call = add.s(1)
    callback = received.s()
    assert call.link(callback) is callback
    assert call.on_error(received.s()) is call
    call.on_error(received.s())
    assert call.options == {"link": [received.s()], "link_error": [received.s()]}


@pytest.mark.parametrize(
    "one", [received.s(), dict(received.s()), [received.s()], (dict(received.s()),)]
)
def test_one_callback_is_as_good_as_several(one: Any) -> None:
    made = add.signature((1,), link=one), add.s(1).set(link=one), signature(add.name, [1], link=one)
    for call in made:
        assert call.options["link"] == [received.s()]
        assert isinstance(call.options["link"][0], Signature)
        call.link(total.s())
        assert signature(json.loads(json.dumps(call))) == call
        assert call.options["link"] == [received.s(), total.s()]
    assert signature({"task": add.name, "options": {"link": one}}).options["link"] == [received.s()]
    assert group(add.s(1)).set(link_error=one).options["link_error"] == [received.s()]
    assert add.s().set(link=None).options["link"] == []


def test_chunks_and_maps() -> None:
    chunks = add.chunks(zip(range(5), range(5), strict=True), 2)
    assert isinstance(chunks, Group)
    assert len(chunks.tasks) == 3
    assert chunks.group() is chunks
    assert add.map([1]).args == [add.name, [1]]
    with pytest.raises(ValueError, match="at least 1"):
        add.chunks([], 0)


def test_chord_without_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="no body yet"):
        chord([add.s(1)]).apply_async()


@pytest.mark.django_db
def test_chord_called_with_its_body(drain: Any) -> None:
    result = chord([add.s(1), add.s(2)])(total.s())
    drain()
    assert result.get(timeout=0) == 3


@pytest.mark.django_db
def test_signature_as_an_argument(drain: Any) -> None:
    result = echo.delay(add.s(1), then=group(add.s(2)))
    drain()
    (args, kwargs) = result.get(timeout=0)
    assert signature(args[0]) == add.s(1)
    assert signature(kwargs["then"]) == group(add.s(2))
