"""``runworker`` that a program calls, as a test does: it shares the process and gives it back."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from tests.integration import jobs

pytestmark = pytest.mark.once

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGALRM)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in HEARD]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", [["runworker"], ["jobs", "worker"]])
def test_solo_worker_runs_in_the_process_that_calls_it(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = handlers()
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
