# ruff: noqa: DTZ001, DTZ901 - naive values come back, too
"""Pydantic models go into JSON and come back equal."""

import datetime
import decimal
from typing import Any

import pytest

from django_jobs.define.annotations import Converters
from django_jobs.define.converters import Mismatch
from django_jobs.exceptions import ArgumentError
from tests.define.test_conversion import same

pydantic = pytest.importorskip("pydantic", minversion="2")
pytestmark = pytest.mark.once


class Address(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    since: datetime.datetime
    zip_code: str = pydantic.Field(alias="zip")
    price: decimal.Decimal = decimal.Decimal(0)
    tags: frozenset[str] = frozenset()

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.since.year


class Renamed(pydantic.BaseModel):
    day: datetime.date = pydantic.Field(validation_alias="in", serialization_alias="out")


class Secretive(pydantic.BaseModel):
    password: pydantic.SecretStr


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Address, Address(since=datetime.datetime(2030, 1, 1, 1, 1, 1, 5), zip="1")),
        (list[Address | None], [None, Address(since=datetime.datetime.max, zip="1")]),
        (Renamed, Renamed.model_validate({"in": datetime.date.max})),
        (dict[str, Renamed], {"a": Renamed.model_validate({"in": datetime.date.max})}),
    ],
)
def test_models_come_back(hint: Any, value: Any) -> None:
    assert same(hint, value) == value


def test_model_that_its_json_does_not_bring_back_is_refused() -> None:
    with pytest.raises(ArgumentError, match="does not come back equal from its own JSON"):
        Converters().of(Secretive).encode(Secretive.model_validate({"password": "x"}))


def test_mismatch_of_a_model_shows_no_value() -> None:
    with pytest.raises(Mismatch) as caught:
        Converters().of(Address).decode({"zip": "1", "since": "secret"})
    told = caught.value.message("it", "f")
    assert (
        told == "Argument 'it' of f must be an Address, and a dict arrived that does not convert."
    )
