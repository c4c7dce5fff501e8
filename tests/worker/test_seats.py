"""The greenlets of a gevent pool share connections in the order in which they ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

gevent = pytest.importorskip("gevent", reason="gevent is not installed")

from django_jobs.worker.pools.seats import Seats  # noqa: E402 (gevent may be missing)

pytestmark = pytest.mark.once


def take_turns() -> None:
    for _ in range(5):
        gevent.sleep(0)


class Users:
    """Greenlets that take a seat, and keep it until they are told to leave."""

    def __init__(self, number: int) -> None:
        self.seats = Seats(number)
        self.order: list[str] = []
        self._leave: dict[str, Any] = {}
        self._greenlets: dict[str, Any] = {}

    def come(self, name: str) -> None:
        self._leave[name] = gevent.event.Event()
        self._greenlets[name] = gevent.spawn(self._use, name)
        take_turns()

    def leave(self, name: str) -> None:
        self._leave[name].set()
        take_turns()

    def stop(self, name: str) -> None:
        gevent.kill(self._greenlets[name])

    def _use(self, name: str) -> None:
        seat = self.seats._take()
        self.order.append(name)
        self._leave[name].wait()
        self.seats._give(seat)

    def end(self) -> None:
        gevent.killall(list(self._greenlets.values()))


@pytest.fixture
def users() -> Iterator[Users]:
    users = Users(2)
    with ExitStack() as stack:
        stack.callback(users.end)
        yield users


def test_seat_goes_to_who_waits_longest(users: Users) -> None:
    for name in "abcd":
        users.come(name)
    assert users.order == ["a", "b"]
    users._leave["a"].set()
    users.come("e")
    assert users.order == ["a", "b", "c"], "one that comes later takes no seat before"
    users.leave("b")
    users.leave("c")
    assert users.order == ["a", "b", "c", "d", "e"]


def test_who_is_stopped_while_it_waits_loses_no_seat(users: Users) -> None:
    for name in "abcd":
        users.come(name)
    users.stop("c")
    users.leave("a")
    assert users.order == ["a", "b", "d"]


def test_seat_that_comes_together_with_a_time_limit_goes_to_the_next() -> None:
    seats = Seats(1)
    first = seats._take()

    late = gevent.spawn(seats._take)
    take_turns()
    gevent.get_hub().loop.run_callback(late.throw, gevent.GreenletExit())
    seats._give(first)
    late.join()
    assert seats._free == [first]
