"""override_jobs() overrides keys of DJANGO_JOBS and keeps the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import SimpleTestCase, override_settings

from django_jobs.conf import get_settings
from django_jobs.testing import override_jobs

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def given(settings: Any) -> None:
    settings.DJANGO_JOBS = {"DEFAULT_QUEUE": "mine", "EAGER": False}


def now() -> tuple[str, Any]:
    return get_settings().default_queue, get_settings().eager


def test_block() -> None:
    with override_jobs(EAGER=True):
        assert now() == ("mine", True)
        with override_jobs(DEFAULT_QUEUE="other"):
            assert now() == ("other", True)
        assert now() == ("mine", True)
    assert now() == ("mine", False)


def test_block_without_the_setting(settings: Any) -> None:
    del settings.DJANGO_JOBS
    with override_jobs(EAGER=True):
        assert now() == ("default", True)
    assert not hasattr(django_settings, "DJANGO_JOBS")


def test_functions() -> None:
    @override_jobs(EAGER="raise")
    def plain() -> Any:
        return now()

    @override_jobs(EAGER="raise")
    async def coroutine() -> Any:
        return now()

    with override_jobs(DEFAULT_QUEUE="called"):
        assert plain() == ("called", "raise")
        assert asyncio.run(coroutine()) == ("called", "raise")
    assert now() == ("mine", False)


def test_class() -> None:
    seen: list[Any] = []

    @override_jobs(EAGER=True)
    @override_jobs(DEFAULT_QUEUE="class", EAGER="raise")
    class Case(SimpleTestCase):
        def test(self) -> None:
            seen.append(now())

    @override_jobs(DEFAULT_QUEUE="below")
    class Below(Case): ...

    @override_jobs(EAGER=True)
    @override_settings(DJANGO_JOBS={"RESULT_EXPIRES": 5})
    class Beside(SimpleTestCase):
        def test(self) -> None:
            seen.append((*now(), get_settings().result_expires))

    for case in (Case, Below, Beside):
        case.setUpClass()
        try:
            case("test").debug()
        finally:
            case.doClassCleanups()
    assert seen == [("class", True), ("below", True), ("default", True, 5)]
    assert now() == ("mine", False)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"EAGRE": True}, r"unknown key 'EAGRE'\. Did you mean 'EAGER'"),
        ({"EAGER": 7}, r"DJANGO_JOBS\['EAGER'\] must be bool or 'raise', got 7\. Use True or"),
        ({"METRICS_TOKEN": 5}, r"METRICS_TOKEN.* got int\."),
    ],
)
def test_wrong_keys_and_values_are_refused_as_by_the_check(keys: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        override_jobs(**keys)
