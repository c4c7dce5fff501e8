"""A call that a result does not fit says so when the workflow is enqueued."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from django_jobs import Canvas, chain, chord, group, job, signature
from django_jobs.models import Job
from tests.workflows.jobs import same

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


@pytest.fixture
def functions() -> dict[str, Any]:
    @job(name="shop.price_of")
    def price_of(sku): ...

    @job(name="shop.tell")
    def tell(): ...

    @job(name="shop.log_in")
    def log_in(password, user="ann", **options): ...

    return {"price_of": price_of, "tell": tell, "log_in": log_in}


def message(canvas: Canvas) -> str:
    with pytest.raises(TypeError) as caught:
        canvas.delay()
    assert not Job.objects.exists()
    return str(caught.value)


def test_result_that_is_one_argument_too_many_is_named(functions: dict[str, Any]) -> None:
    price_of, tell = functions["price_of"], functions["tell"]
    price = price_of.s("SKU1")
    too_many = "shop.price_of(sku) takes 1 argument and would get 2"
    ignore = "Use .si() to ignore the result of shop.price_of."
    ignore_group = "Use .si() to ignore what the group gives."
    assert message(chain(price, price_of.s("SKU2"))) == (
        f"{too_many}: the result of shop.price_of and 'SKU2'. {ignore}"
    )
    assert message(chain(price, price_of.s(sku="SKU2"))) == (
        f"{too_many}: the result of shop.price_of and sku='SKU2'. {ignore}"
    )
    assert message(chord([price, price], price_of.s("SKU2"))) == (
        f"{too_many}: what the group gives and 'SKU2'. {ignore_group}"
    )
    assert message(price.clone().set(link=[price_of.s("SKU2")])) == (
        f"{too_many}: the result of shop.price_of and 'SKU2'. {ignore}"
    )
    assert message(group(price, price).on_complete(price_of.s("SKU2"))) == (
        f"{too_many}: what the group gives and 'SKU2'. {ignore_group}"
    )
    assert message(chain(price, tell.s())) == (
        f"shop.tell() takes no arguments and would get 1: the result of shop.price_of. {ignore}"
    )


def test_sensitive_argument_beside_a_result_is_not_shown(functions: dict[str, Any]) -> None:
    log_in = functions["log_in"]
    text = message(chain(functions["price_of"].s("SKU1"), log_in.s("hunter2", "bob")))
    assert text.endswith(
        "takes at most 2 arguments and would get 3: the result of shop.price_of, '********' and "
        "'bob'. Use .si() to ignore the result of shop.price_of."
    )


def test_object_or_long_text_beside_a_result_is_told_briefly(functions: dict[str, Any]) -> None:
    @dataclasses.dataclass
    class Login:
        user: str
        password: str

    price_of = functions["price_of"]
    text = message(chain(price_of.s("SKU1"), price_of.s(Login("ann", "hunter2"))))
    assert "would get 2: the result of shop.price_of and <Login>. Use" in text
    text = message(chain(price_of.s("SKU1"), price_of.s("x" * 100_000)))
    assert f"would get 2: the result of shop.price_of and '{98 * 'x'}…. Use" in text


def test_call_that_fits_in_no_way_says_so_as_any_call_does(functions: dict[str, Any]) -> None:
    price_of = functions["price_of"]
    text = message(chain(price_of.s("SKU1"), price_of.s("a", "b")))
    assert text == (
        "shop.price_of(sku): too many positional arguments. It gets the result of shop.price_of "
        "first."
    )


def refusal(errback: Any) -> str:
    with pytest.raises(TypeError) as caught:
        same.apply_async((1,), link_error=errback)
    canvases = [chain(same.s(1), same.s()), group(same.s(1), same.s(2)), chord([same.s(1)], same)]
    assert {message(canvas.on_error(errback)) for canvas in canvases} == {str(caught.value)}
    return str(caught.value)


def test_errback_that_does_not_fit_is_refused_at_the_call(functions: dict[str, Any]) -> None:
    price_of, tell = functions["price_of"], functions["tell"]
    wrong = price_of.s("SKU2")
    text = (
        "shop.price_of(sku) takes 1 argument and would get 2: the dict that tells of the failure "
        "and 'SKU2'. Use .si() to ignore the dict that tells of the failure."
    )
    for errback in (wrong, wrong | tell.si(), group(price_of.s(), wrong), chord([wrong], tell)):
        assert refusal(errback) == text
    assert refusal(tell.si(1)) == "shop.tell(): too many positional arguments"


def test_errback_as_celery_has_it_says_what_it_gets() -> None:
    @job(name="shop.on_error")
    def on_error(request, exc, traceback): ...

    assert refusal(on_error.s()) == (
        "shop.on_error(request, exc, traceback): missing a required argument: 'exc'. It gets the "
        "dict that tells of the failure first."
    )


def test_errback_that_fits_or_is_not_known_here_is_taken(functions: dict[str, Any]) -> None:
    for errback in (functions["price_of"].s(), functions["tell"].si(), signature("nowhere")):
        assert same.apply_async((1,), link_error=errback).status == "PENDING"
