from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs.define.routing import max_pending, route
from django_jobs.models import Job
from tests import jobs


@pytest.fixture
def routes(settings: Any) -> Any:
    def routes(value: Any) -> None:
        settings.DJANGO_JOBS = {"ROUTES": value}

    return routes


def test_no_routes_say_nothing() -> None:
    assert route("a.b", [], {}) == {}


def test_glob_matches_names(routes: Any) -> None:
    routes({"shop.*": {"queue": "shop"}, "*": {"queue": "rest", "priority": 1}})
    assert route("shop.jobs.pay", [], {}) == {"queue": "shop"}
    assert route("Shop.jobs.pay", [], {}) == {"queue": "rest", "priority": 1}


def test_first_entry_that_answers_wins(routes: Any) -> None:
    def by_argument(name: str, args: Any, kwargs: Any) -> dict[str, Any] | None:
        return {"queue": f"tenant{kwargs['tenant']}"} if "tenant" in kwargs else None

    routes([by_argument, {"a.*": {"queue": "a"}}])
    assert route("a.b", [], {"tenant": 7}) == {"queue": "tenant7"}
    assert route("a.b", [], {}) == {"queue": "a"}
    assert route("b.b", [], {}) == {}


@pytest.mark.parametrize("answer", ["mail", {"que": "mail"}, {"queue": "a", "database": "b"}, 5])
def test_callable_that_answers_nonsense_is_refused(routes: Any, answer: Any) -> None:
    routes([lambda name, args, kwargs: answer])
    with pytest.raises(
        ImproperlyConfigured, match=r"ROUTES answers for a\.b: A route (must be a dict|has )"
    ):
        route("a.b", [], {})


@pytest.mark.django_db
def test_call_wins_over_route_and_route_over_function(routes: Any) -> None:
    routes({"tests.jobs.send": {"queue": "routed", "priority": 7}})
    routed = jobs.send.delay(1).job
    named = jobs.send.apply_async((1,), queue="mine", priority=1).job
    half = jobs.send.apply_async((1,), queue="mine").job
    other = jobs.add.delay(1).job
    assert (routed.queue, routed.priority) == ("routed", 7)
    assert (named.queue, named.priority) == ("mine", 1)
    assert (half.queue, half.priority) == ("mine", 7)
    assert (other.queue, other.priority) == ("default", 0)


@pytest.mark.django_db
@pytest.mark.parametrize("answer", [{"queue": "q" * 101}, {"priority": 40_000}, {"queue": 5}])
def test_route_to_an_impossible_place_is_refused_before_it_is_written(
    routes: Any, answer: Any
) -> None:
    routes([lambda name, args, kwargs: answer])
    with pytest.raises((ImproperlyConfigured, ValueError), match="must be"):
        jobs.add.delay(1)
    assert not Job.objects.exists()


def test_max_pending_of_a_queue(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"small": {"MAX_PENDING": 3}}}
    assert max_pending("small") == 3
    assert max_pending("other") is None
