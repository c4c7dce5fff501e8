"""The keys by which jobs take turns, and the settings of fair queues."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from cryptography.fernet import Fernet

from django_jobs import job
from django_jobs.checks.settings import check_settings
from django_jobs.define.fairness import (
    fair_queues,
    fairness_problems,
    key_of_row,
    stored_key,
    value_of,
)
from django_jobs.enqueue.rows import rows_of
from django_jobs.exceptions import ArgumentError
from django_jobs.models import Job
from tests import jobs

pytestmark = pytest.mark.once


def by_second(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return args[1]


def weigh(key: str) -> int:
    return 2


@pytest.fixture
def fair_by(settings: Any) -> Any:
    def fair_by(by: Any, **options: Any) -> None:
        queue = {"FAIR_BY": by, **options}
        settings.DJANGO_JOBS = {"QUEUES": {"imports": queue}, "DEFAULT_QUEUE": "imports"}

    return fair_by


def key(function: Any, *args: Any, headers: Any = None, **kwargs: Any) -> str | None:
    """Return the value of the key of a call."""
    (row,) = rows_of(function, [(args, kwargs)], {"headers": headers} if headers else {})
    return None if row.fair_key is None else value_of(row.fair_key)


def test_only_jobs_of_fair_queues_have_a_key(fair_by: Any) -> None:
    (row,) = rows_of(jobs.of_tenant, [(("A",), {})], {"queue": "imports"})
    assert row.fair_key is None
    fair_by("tenant")
    rows = rows_of(jobs.of_tenant, [(("A",), {}), (("A", 2), {})], {})
    assert rows[0].fair_key == rows[1].fair_key == stored_key("A")
    (row,) = rows_of(jobs.of_tenant, [(("A",), {})], {"queue": "plain"})
    assert row.fair_key is None


def test_key_is_a_parameter_however_it_is_given(fair_by: Any) -> None:
    fair_by("number")
    assert key(jobs.of_tenant, "A", 7) == "7"
    assert key(jobs.of_tenant, "A", number=7) == "7"
    assert key(jobs.of_tenant, "A", number="7") == "7"
    assert key(jobs.of_tenant, "A") == "0"  # the default


def test_key_is_a_header_of_jobs_without_the_parameter(fair_by: Any) -> None:
    fair_by("tenant_id")
    assert key(jobs.of_tenant, "A", headers={"tenant_id": 7}) == "7"
    assert key(jobs.of_tenant, "A", headers={"other": 7}) == ""
    assert key(jobs.of_tenant, "A") == ""


def test_key_is_a_keyword_argument_beyond_the_parameters(fair_by: Any) -> None:
    fair_by("tenant_id")
    assert key(jobs.echo, tenant_id="A") == "A"
    assert key(jobs.echo, "A", headers={"tenant_id": "B"}) == "B"
    fair_by("args")
    assert key(jobs.echo, "A") == ""


@pytest.mark.parametrize("by", [by_second, f"{__name__}.by_second"])
def test_key_is_what_a_function_returns(fair_by: Any, by: Any) -> None:
    fair_by(by)
    assert key(jobs.of_tenant, "A", 7) == "7"
    assert key(jobs.of_tenant, "A", "B") == "B"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (7, "7"), (None, ""), ("", ""), (True, "true"), ([1, "b"], '[1,"b"]'),
     ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
     (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007")],
)  # fmt: skip
def test_value_becomes_a_text(fair_by: Any, value: Any, text: str) -> None:
    fair_by(lambda name, args, kwargs: value)
    shown = key(jobs.of_tenant, "A")
    assert shown is not None
    assert shown.strip('"') == text


@pytest.mark.parametrize("value", [object(), float("nan"), "a\0b", "\ud800"])
def test_value_that_is_no_json_is_refused(fair_by: Any, value: Any) -> None:
    fair_by(lambda name, args, kwargs: value)
    with pytest.raises(ArgumentError, match="FAIR_BY"):
        key(jobs.of_tenant, "A")


def test_error_of_a_function_is_the_caller_s(fair_by: Any) -> None:
    fair_by(by_second)
    with pytest.raises(IndexError):
        key(jobs.of_tenant, "A")


def test_typed_argument_has_one_key_in_all_spellings(fair_by: Any, registered: Any) -> None:
    @job(name="of_owner")
    def of_owner(owner: uuid.UUID) -> None: ...

    fair_by("owner")
    number = uuid.uuid4()
    assert key(of_owner, number) == key(of_owner, owner=number) == str(number)


def test_long_value_is_a_digest(fair_by: Any) -> None:
    fair_by("tenant")
    assert key(jobs.of_tenant, "x" * 191) == "x" * 191
    first, second = key(jobs.of_tenant, "x" * 192), key(jobs.of_tenant, "x" * 193)
    assert first != second
    assert first is not None
    assert first.startswith("~")
    assert len(first) == 33
    assert len(stored_key("x" * 191)) == 200


@pytest.mark.parametrize("by", ["api_token", "pin", "hint", lambda name, args, kwargs: args[0]])
def test_sensitive_value_is_a_digest(fair_by: Any, registered: Any, by: Any) -> None:
    @job(name="call_api", sensitive=["hint"])
    def call_api(api_token: str, pin: str = "4711-8", hint: str = "my dog") -> None: ...

    fair_by(by)
    (row,) = rows_of(call_api, [(("s3cr3t-value",), {})], {})
    stored = str(row.fair_key)
    assert value_of(stored).startswith("~")
    for secret in ("s3cr3t-value", "4711-8", "my dog"):
        assert secret not in stored
        assert not stored.startswith(stored_key(secret)[:8])


@pytest.mark.parametrize("by", ["tenant", by_second])
def test_encrypted_value_is_a_digest(settings: Any, registered: Any, by: Any) -> None:
    @job(name="import_secret", encrypt=True)
    def import_secret(number: int, tenant: str) -> None: ...

    settings.DJANGO_JOBS = {
        "QUEUES": {"imports": {"FAIR_BY": by}},
        "DEFAULT_QUEUE": "imports",
        "ENCRYPTION_KEYS": [Fernet.generate_key().decode()],
    }
    first, second = key(import_secret, 1, "a"), key(import_secret, 2, "a")
    assert first == second != key(import_secret, 1, "b")
    assert first is not None
    assert first.startswith("~")
    (row,) = rows_of(import_secret, [((1, "a"), {})], {})
    stored = Job(name=row.name, args=json.loads(row.args), kwargs=json.loads(row.kwargs))
    fairness = fair_queues()["imports"]
    assert key_of_row(fairness, stored) == row.fair_key
    settings.DJANGO_JOBS = {}
    assert key_of_row(fairness, stored) is None


def test_sensitive_header_is_a_digest(fair_by: Any) -> None:
    fair_by("authorization")
    shown = key(jobs.of_tenant, "A", headers={"authorization": "Bearer x"})
    assert shown is not None
    assert shown.startswith("~")


def test_function_that_returns_no_secret_is_shown(fair_by: Any, registered: Any) -> None:
    @job(name="call_api")
    def call_api(api_token: str, tenant: str) -> None: ...

    fair_by(by_second)
    assert key(call_api, "s3cr3t-value", "acme") == "acme"


def test_keys_lie_evenly_on_the_ring() -> None:
    places = [int(stored_key(f"tenant-{number:05}")[:8], 16) for number in range(2_000)]
    for quarter in range(4):
        inside = [place for place in places if place >> 30 == quarter]
        assert 400 < len(inside) < 600


def test_workflow_s_dependent_has_the_key_of_its_own_arguments(fair_by: Any) -> None:
    from django_jobs.workflows.draft import template

    fair_by("number")
    row = template(jobs.of_tenant, {})((7,), {}, 1)
    assert value_of(str(row.fair_key)) == "7"
    fair_by("tenant")
    row = template(jobs.of_tenant, {})((7,), {}, 1)
    assert value_of(str(row.fair_key)) == ""


def test_weight_of_a_secret_is_found_by_its_value(fair_by: Any) -> None:
    fair_by("api_token", WEIGHTS={"s3cr3t": 3, 7: 2})
    fairness = fair_queues()["imports"]
    assert fairness.weight_of(stored_key("s3cr3t", is_secret=True)) == 3
    assert fairness.weight_of(stored_key("7")) == 2
    assert fairness.weight_of(stored_key("other")) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"FAIR_BY": 7}, "FAIR_BY must be the name of a parameter"),
        ({"FAIR_BY": ""}, "FAIR_BY must be the name of a parameter"),
        ({"FAIR_BY": ["tenant"]}, "got a list"),
        ({"FAIR_BY": "gone.away"}, "FAIR_BY names 'gone.away', which cannot be imported"),
        ({"FAIR_BY": "math.pi"}, "FAIR_BY names 'math.pi', which is a float"),
        ({"WEIGHTS": {"a": 2}}, "WEIGHTS has no effect without FAIR_BY"),
        ({"FAIR_BY": "a", "WEIGHTS": 3}, "WEIGHTS must be a dict"),
        ({"FAIR_BY": "a", "WEIGHTS": "gone.away"}, "WEIGHTS names 'gone.away'"),
        ({"FAIR_BY": "a", "WEIGHTS": {"b": 0}}, "WEIGHTS['b'] must be a whole number from 1 to"),
        ({"FAIR_BY": "a", "WEIGHTS": {"b": 1.5}}, "from 1 to 100, got 1.5."),
        ({"FAIR_BY": "a", "WEIGHTS": {"b": True}}, "got True."),
        ({"FAIR_BY": "a", "WEIGHTS": {"b": "3"}}, "got a str."),
    ],
)
def test_impossible_setting_is_an_error(settings: Any, options: Any, problem: str) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"imports": options}}
    (error,) = [each for each in check_settings(None) if each.id == "django_jobs.E008"]
    assert problem in error.msg


@pytest.mark.parametrize(
    "options",
    [
        {"FAIR_BY": "tenant_id"},
        {"FAIR_BY": "no_function_has_it"},
        {"FAIR_BY": by_second, "WEIGHTS": weigh},
        {"FAIR_BY": f"{__name__}.by_second", "WEIGHTS": f"{__name__}.weigh"},
        {"FAIR_BY": "a", "WEIGHTS": {"a": 1, 7: 100}},
        {"FAIR_BY": None},
        {},
    ],
)
def test_possible_setting_is_none(options: Any) -> None:
    assert fairness_problems(options) == []
