"""Jobs that go on as something else, and that widen their chord."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import chain, chord, group
from django_jobs.control import retry, revoke
from django_jobs.models import Edge, Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.testing import run_jobs
from tests.workflows.jobs import (
    add,
    become,
    echo,
    fail,
    first_of,
    flaky,
    hear,
    heard,
    only_one,
    received,
    same,
    total,
    widen,
)

pytestmark = pytest.mark.django_db

Drain = Callable[..., Any]
EAGER = pytest.mark.parametrize("eager", [False, True])


def value(canvas: Any, eager: bool, drain: Drain) -> Any:
    if eager:
        return canvas.apply().get()
    result = canvas.apply_async()
    drain()
    return result.get(timeout=0)


@EAGER
@pytest.mark.parametrize(
    ("sig", "wanted"),
    [
        (add.s(1, 2), 3),
        (add.s(1) | add.s(2) | add.s(3), 6),
        (group(add.s(1), add.s(2)), [1, 2]),
        (group(), []),
        (group(add.s(1), group(add.s(2), add.s(3))), [1, [2, 3]]),
        (chord([add.s(1), add.s(2)], total.s()), 3),
        (chord([add.s(1), add.s(2)], group(total.s(), same.s())), [3, [1, 2]]),
        (add.s(1) | group(add.s(1), add.s(2)), [2, 3]),
        (become.s(become.s(group(add.s(1), add.s(2)))), [1, 2]),
    ],
    ids=repr,
)
def test_job_goes_on_as(drain: Drain, sig: Any, wanted: Any, eager: bool) -> None:
    assert value(become.s(sig), eager, drain) == wanted
    whole = group(same.s(0), become.s(sig), same.s(1)) | same.s()
    assert value(whole, eager, drain) == [0, wanted, 1]
    assert value(same.s(0) | become.si(sig) | same.s(), eager, drain) == wanted


LINKED = [
    (lambda: add.s(1, 2).set(link=hear.s("a")), 3, [[3, "a"]]),
    (lambda: (add.s(1) | add.s(2)).set(link=hear.s("a")), 3, [[3, "a"]]),
    (lambda: add.s(1) | add.s(2).set(link=hear.s("a")), 3, [[3, "a"]]),
    (lambda: add.s(1).set(link=hear.s("a")) | add.s(2), 3, [[1, "a"]]),
    (lambda: add.s(1, 2).set(link=[same.s() | hear.s("a"), hear.s("b")]), 3, [[3, "a"], [3, "b"]]),
    (lambda: group(add.s(1), add.s(2)).set(link=hear.s("a")), [1, 2], [[[1, 2], "a"]]),
    (lambda: group(add.s(1).set(link=hear.s("a")), add.s(2)), [1, 2], [[1, "a"]]),
    (lambda: chord([add.s(1)], total.s()).set(link=hear.s("a")), 1, [[1, "a"]]),
    (lambda: chord([add.s(1)], total.s().set(link=hear.s("a"))), 1, [[1, "a"]]),
    (lambda: become.s(add.s(1, 2).set(link=hear.s("a"))).set(link=hear.s("b")), 3,
     [[3, "a"], [3, "b"]]),
    (lambda: group(add.s(1)).on_complete(hear.s("a").set(immutable=True)), [1], [["a"]]),
]  # fmt: skip


@EAGER
@pytest.mark.parametrize(("make", "wanted", "calls"), LINKED, ids=range(len(LINKED)))
@pytest.mark.parametrize(
    "around",
    [
        lambda sig: become.s(sig),
        lambda sig: become.s(sig) | same.s(),
        lambda sig: same.s() | become.si(sig) | same.s(),
        lambda sig: same.s() | become.si(sig),
        lambda sig: chord([become.s(sig)], same.s()) | first_of.s(),
        lambda sig: chord([same.s()], become.si(sig)),
        lambda sig: become.s(sig).set(link=same.s()),
    ],
    ids=["alone", "first", "middle", "last", "member", "body", "linked"],
)
def test_links_of_what_a_job_goes_on_as(
    drain: Drain, make: Any, wanted: Any, calls: Any, around: Any, eager: bool
) -> None:
    heard.clear()
    assert value(around(make()), eager, drain) == wanted
    assert sorted(heard, key=str) == calls
    assert not Job.objects.live().exists()


@EAGER
def test_links_of_an_added_member(drain: Drain, eager: bool) -> None:
    heard.clear()
    linked = (add.s(1) | add.s(2)).set(link=hear.s("a"))
    assert value(chord([widen.s(1, linked), same.s(2)], same.s()), eager, drain) == [1, 2, 3]
    assert heard == [[3, "a"]]
    assert not Job.objects.live().exists()


@EAGER
def test_errbacks_of_what_a_job_goes_on_as(drain: Drain, eager: bool) -> None:
    heard.clear()
    sig = (add.s(1) | fail.si()).set(link=hear.s("link")).on_error(hear.si("own"))
    with pytest.raises(ValueError, match="broken"):
        value(become.s(sig).on_error(hear.si("job's")) | same.s(), eager, drain)
    assert sorted(heard) == [["job's"], ["own"]]


def test_expiry_is_that_of_what_a_job_goes_on_as(drain: Drain) -> None:
    first = become.apply_async((add.s(1) | add.s(2),), expires=3600)
    second = become.apply_async((add.s(1, 2).set(expires=60),))
    third = become.apply_async((add.s(1, 2).set(expires=-1),))
    drain(limit=3)
    rows = Job.objects.in_bulk([first.uuid, second.uuid, third.uuid])
    assert rows[first.uuid].expires_at is None
    assert rows[second.uuid].expires_at is not None
    assert rows[third.uuid].status == "REVOKED"


def test_unique_job_that_a_job_goes_on_as_is_found_by_its_key(drain: Drain, work: Drain) -> None:
    result = become.delay(only_one.s(7))
    work()
    assert only_one.delay(7).id != result.id
    assert Job.objects.filter(name=only_one.name).count() == 1
    drain()
    assert result.get(timeout=0) == 7


def test_row_stays_the_job_s(drain: Drain) -> None:
    result = become.apply_async((chain(add.s(1), add.s(2)),), queue="default", link=same.s())
    link = Job.objects.get(name=same.name)
    drain()
    row = Job.objects.get(pk=result.id)
    assert (row.name, row.result, row.status) == (add.name, 3, "SUCCESS")
    link.refresh_from_db()
    assert link.result == 3
    assert row.root_id == link.root_id


def test_what_it_took_before_is_not_taken_again(drain: Drain) -> None:
    result = (same.s(7) | become.s(echo.s())).apply_async()
    drain()
    assert result.get(timeout=0) == [[], {}]
    assert set(Edge.objects.values_list("position", flat=True)) == {-1}


@EAGER
def test_failure_of_what_it_goes_on_as(drain: Drain, eager: bool) -> None:
    with pytest.raises(ValueError, match="broken"):
        value(become.s(add.s(1) | fail.s() | add.s(2)) | add.s(1), eager, drain)


@pytest.mark.parametrize("sig", [fail.s(), fail.s() | add.s(1), add.s(1) | fail.s()], ids=repr)
def test_errbacks_go_along(drain: Drain, sig: Any) -> None:
    become.apply_async((sig,), link_error=received.s())
    chord([become.s(sig), add.s(1)], total.s()).on_error(received.s()).apply_async()
    drain()
    failures = [row.result[0]["name"] for row in Job.objects.filter(name=received.name)]
    assert failures == [fail.name] * 2


CHORD = chord([fail.s(), add.s(1, 1)], total.s())


@pytest.mark.parametrize(
    "canvas",
    [
        become.s(CHORD).on_error(received.s()),
        become.s(CHORD.clone().on_error(received.s())),
        become.s(become.s(CHORD)).on_error(received.s()),
        become.s(add.si(1, 1) | become.si(CHORD)).on_error(received.s()),
        chord([become.s(CHORD), add.s(1, 1)], total.s()).on_error(received.s()),
        chord([add.s(1, 1), become.s(chord([become.s(CHORD)], total.s()))], total.s()).on_error(
            received.s()
        ),
        chord([add.s(1, 1)], become.s(CHORD)).on_error(received.s()),
    ],
    ids=range(7),
)
def test_errback_is_told_once_of_a_chord_that_a_job_became(drain: Drain, canvas: Any) -> None:
    canvas.apply_async()
    drain()
    failures = [row.result[0]["name"] for row in Job.objects.filter(name=received.name)]
    assert failures == [fail.name]


def test_place_of_a_job_that_goes_on_again_and_again_grows_no_longer(drain: Drain) -> None:
    sig = add.si(1, 1)
    for _ in range(6):
        sig = add.si(1, 1) | become.si(sig)
    become.s(sig).apply_async()
    drain()
    assert max(len((row.options or {}).get("for", "")) for row in Job.objects.all()) == 36 * 2 + 1


def test_retries_begin_anew() -> None:
    become.s(flaky.s(1)).apply_async()
    run_jobs(at=datetime.timedelta(hours=1))
    assert Job.objects.get().result == 2


def test_outcome_that_does_not_count_replaces_nothing(worker: Worker, take: Drain) -> None:
    result = become.delay(chain(add.s(1), add.s(2)))
    (claimed,) = take()
    outcome = execute(claimed, Environment())
    revoke([result.id], terminate=True)
    assert record(worker.pk, [outcome], "default") == []
    assert Job.objects.count() == 1
    assert Job.objects.get().name == become.name


def test_wrong_replacement_fails_the_job(drain: Drain) -> None:
    result = become.delay(add.s(1, 2, 3, 4))
    drain()
    with pytest.raises(TypeError):
        result.get(timeout=0)


def test_direct_call_replaces_nothing() -> None:
    with pytest.raises(RuntimeError, match="called directly"):
        become(add.s(1))


def test_retry_after_a_replacement(drain: Drain) -> None:
    result = (become.si(add.s(1) | fail.s()) | add.s(5)).apply_async()
    drain()
    middle = Job.objects.get(name=fail.name)
    Job.objects.filter(pk=middle.pk).update(name=same.name)
    assert retry([middle.pk]) == (1, {})
    drain()
    assert Job.objects.get(pk=result.id).result == 6


# --- more members -------------------------------------------------------------------------------


@EAGER
@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ([widen.s(1, add.s(5)), add.s(2)], [1, 2, 5]),
        ([widen.s(1, add.s(5), add.s(6)), add.s(2)], [1, 2, 5, 6]),
        ([widen.s(1, add.s(5) | add.s(6)), add.s(2)], [1, 2, 11]),
        ([widen.s(1, group(add.s(5), add.s(6)))], [1, [5, 6]]),
        ([widen.s(1, widen.s(2, add.s(3)))], [1, 2, 3]),
        ([group(add.s(1), add.s(2)), widen.s(3, add.s(4))], [[1, 2], 3, 4]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("body", [same.s(), same.s() | same.s(), chord([same.s()], same.s())])
def test_member_adds_members(
    drain: Drain, members: Any, wanted: Any, body: Any, eager: bool
) -> None:
    wanted = [wanted] if "chord" in repr(body) else wanted
    assert value(chord(members, body), eager, drain) == wanted


def test_body_of_several_jobs_takes_added_members(drain: Drain) -> None:
    result = chord([widen.s(1, add.s(5))], group(same.s(), total.s())).apply_async()
    drain()
    assert result.get(timeout=0) == [[1, 5], 6]


def test_only_members_of_a_chord_may_add(take: Drain) -> None:
    for canvas in (widen.s(1, add.s(1)), widen.s(1, add.s(1)) | add.s(1)):
        canvas.apply_async()
        (claimed,) = take()
        error = execute(claimed, Environment()).value
        assert isinstance(error, ValueError)
        assert "is no member of a chord's header" in str(error)


def test_member_that_fails_adds_nothing(drain: Drain, registered: Any) -> None:
    from django_jobs import job

    @job(bind=True, max_retries=0)
    def give_up(self: Any) -> None:
        self.add_to_chord(add.s(1))
        raise ValueError("late")

    chord([give_up.s()], total.s()).apply_async()
    drain()
    assert Job.objects.count() == 2


def test_callback_of_what_a_job_goes_on_as_has_the_job_as_parent(drain: Drain) -> None:
    linked = add.s(1, 2)
    linked.link(hear.s())
    result = become.delay(linked)
    drain()
    assert result.get(timeout=0) == 3
    assert Job.objects.get(name=hear.name).parent_id == result.uuid
