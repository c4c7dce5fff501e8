"""Sleeps end at a call, also at one that comes before them."""

from __future__ import annotations

import os
import resource

import pytest

from django_jobs.process import wakeup
from django_jobs.process.wakeup import Waker, readable


def test_descriptors_may_have_any_number() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2_048), limits[1]))
    read, write = os.pipe()
    high = os.dup2(read, 1_500)
    try:
        assert readable([read, high], 0.0) == set()
        os.write(write, b"!")
        assert readable([read, high], 60.0) == {read, high}
    finally:
        for descriptor in (read, write, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_call_that_comes_before_the_sleep_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waker, slept = Waker(), []

    def poll(descriptors: object, seconds: float) -> set[int]:
        slept.append(seconds)
        return set()

    monkeypatch.setattr(wakeup, "readable", poll)
    waker.wake()
    assert waker.wait(60.0) == (True, False)
    assert waker.wait(60.0) == (False, False)
    assert slept == [0.0, 60.0]
    waker.close()
