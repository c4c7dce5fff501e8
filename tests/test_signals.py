"""Who connects to a signal, how, and what each receiver is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.dispatch import receiver

from django_jobs import signals
from tests import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def enqueued() -> Iterator[signals.Signal]:
    """The signal of enqueuing; what a test connects is gone afterwards."""
    signal = signals.job_enqueued
    before = list(signal.receivers)
    yield signal
    signal.receivers[:] = before
    signal.sender_receivers_cache.clear()


def test_connect_is_a_decorator(enqueued: signals.Signal) -> None:
    heard: list[str] = []

    @enqueued.connect
    def plain(sender: str, **named: Any) -> None:
        heard.append("plain")

    @enqueued.connect(sender=jobs.add)
    def of_add(sender: str, **named: Any) -> None:
        heard.append("of add")

    assert callable(plain)
    assert callable(of_add)
    jobs.add.delay(1)
    assert heard == ["plain", "of add"]
    enqueued.disconnect(of_add, sender=jobs.add.name)
    jobs.add.delay(1)
    assert heard == ["plain", "of add", "plain"]


@pytest.mark.parametrize("sender", [jobs.add, "tests.jobs.add", jobs.add.name])
def test_receiver_of_one_job_function_hears_of_no_other(
    enqueued: signals.Signal, sender: Any
) -> None:
    heard: list[Any] = []

    @receiver(enqueued, sender=sender)
    def note(sender: signals.JobName, **named: Any) -> None:
        heard.append((sender, sender.name))

    jobs.add.delay(1)
    jobs.send.delay("x")
    assert heard == [("tests.jobs.add", "tests.jobs.add")]


def test_name_may_be_connected_before_its_function_exists(
    enqueued: signals.Signal, registered: dict[str, Any]
) -> None:
    from django_jobs import job

    heard: list[str] = []

    @enqueued.connect(sender="tests.later")
    def note(sender: str, **named: Any) -> None:
        heard.append(sender)

    @job(name="tests.later")
    def later() -> None: ...

    later.delay()
    assert heard == ["tests.later"]


def test_ids_are_texts_that_equal_the_uuids(enqueued: signals.Signal) -> None:
    told: list[Any] = []

    @enqueued.connect
    def note(job_ids: list[Any], **named: Any) -> None:
        told.extend(job_ids)

    result = jobs.add.delay(1)
    assert told == [result.uuid]
    assert json.loads(json.dumps(told)) == [result.id]


def test_worker_signal_refuses_a_sender() -> None:
    before = list(signals.worker_ready.receivers)
    with pytest.raises(TypeError, match=r"connect it without sender=, and let the receiver"):
        signals.worker_ready.connect(sender="w-0")
    with pytest.raises(TypeError, match="got 'w-0'"):
        signals.worker_ready.connect(print, "w-0")
    assert signals.worker_ready.receivers == before
