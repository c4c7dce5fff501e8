"""``runworker`` that a program calls, as a test does: it shares the process and gives it back."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from django_jobs import job
from tests.integration import jobs

pytestmark = pytest.mark.once

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGALRM)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in HEARD]


def pipes() -> set[str]:
    """Return the pipes that this process keeps open."""
    gc.collect()
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was that of the look
            found.add(str(path.readlink()))
    return {name for name in found if name.startswith("pipe:")}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", [["runworker"], ["jobs", "worker"]])
def test_solo_worker_runs_in_the_process_that_calls_it(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, threads, opened = handlers(), set(threading.enumerate()), pipes()
    monkeypatch.setattr(jobs, "SUBJECT", "patched")
    result = jobs.send_mail.delay("ann@example.com")
    with pytest.raises(SystemExit) as ended:
        call_command(*command, "--pool", "solo", "--burst", "-Q", "default")
    assert ended.value.code == 0
    assert result.get(timeout=0) == 1
    assert [(message.subject, message.to) for message in mail.outbox] == [
        ("patched", ["ann@example.com"])
    ]
    assert handlers() == before
    assert set(threading.enumerate()) <= threads
    assert pipes() <= opened


@pytest.mark.django_db(transaction=True)
def test_program_outlives_the_grace_period_of_a_solo_worker(
    registered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began when the worker heard TERM; at its end the worker would get QUIT."""

    @job(name="stops")
    def stops() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    killed: list[int] = []
    monkeypatch.setattr(signal, "pthread_kill", lambda thread, number: killed.append(number))
    threads, result = set(threading.enumerate()), stops.delay()
    with pytest.raises(SystemExit) as ended:
        call_command("runworker", "--pool", "solo", "-Q", "default")
    assert (ended.value.code, result.status) == (0, "SUCCESS")
    assert set(threading.enumerate()) <= threads
    assert killed == []


@pytest.mark.django_db(transaction=True)
def test_supervisor_gives_the_signals_back_to_the_program_that_calls_it() -> None:
    before = handlers()
    result = jobs.send_mail.delay("ann@example.com")
    with pytest.raises(SystemExit) as ended:
        call_command("runworker", "--concurrency", "1", "--burst")
    assert ended.value.code == 0
    assert result.get(timeout=0) == 1
    assert mail.outbox == []  # it was sent in another process
    assert handlers() == before
