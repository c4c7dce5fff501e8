"""A call that a result does not fit says so when the workflow is enqueued."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs import Canvas, chain, chord, group, job
from django_jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


@pytest.fixture
def functions() -> dict[str, Any]:
    @job(name="shop.price_of")
    def price_of(sku): ...

    @job(name="shop.tell")
    def tell(): ...

    @job(name="shop.log_in")
    def log_in(password, user="ann"): ...

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
    ignore = "Use .si() to ignore the result."
    assert message(chain(price, price_of.s("SKU2"))) == (
        f"{too_many}: the result of shop.price_of and 'SKU2'. {ignore}"
    )
    assert message(chain(price, price_of.s(sku="SKU2"))) == (
        f"{too_many}: the result of shop.price_of and sku='SKU2'. {ignore}"
    )
    assert message(chord([price, price], price_of.s("SKU2"))) == (
        f"{too_many}: what the group gives and 'SKU2'. {ignore}"
    )
    assert message(price.clone().set(link=[price_of.s("SKU2")])) == (
        f"{too_many}: the result of shop.price_of and 'SKU2'. {ignore}"
    )
    assert message(group(price, price).on_complete(price_of.s("SKU2"))) == (
        f"{too_many}: what the group gives and 'SKU2'. {ignore}"
    )
    assert message(chain(price, tell.s())) == (
        f"shop.tell() takes no arguments and would get 1: the result of shop.price_of. {ignore}"
    )


def test_sensitive_argument_beside_a_result_is_not_shown(functions: dict[str, Any]) -> None:
    log_in = functions["log_in"]
    told = message(chain(functions["price_of"].s("SKU1"), log_in.s("hunter2", "bob")))
    assert told.endswith(
        "takes at most 2 arguments and would get 3: the result of shop.price_of, '********' and "
        "'bob'. Use .si() to ignore the result."
    )


def test_call_that_fits_in_no_way_says_so_as_any_call_does(functions: dict[str, Any]) -> None:
    price_of = functions["price_of"]
    told = message(chain(price_of.s("SKU1"), price_of.s("a", "b")))
    assert told == "shop.price_of(sku): too many positional arguments"
