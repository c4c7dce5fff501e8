"""Callers of stack() learn why there is none."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from django_jobs.control import stack
from django_jobs.exceptions import JobDoesNotExist
from django_jobs.models import Command, Job
from tests import jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(worker: Any) -> Job:
    jobs.add.delay(1)
    Job.objects.update(status="STARTED", worker_id=worker.pk, claims=1)
    return Job.objects.get()


def test_transaction_is_refused_before_a_worker_is_asked(running: Job) -> None:
    with transaction.atomic(), pytest.raises(ValueError, match="outside of a transaction"):
        stack(running.pk, timeout=0)
    assert not Command.objects.exists()


def test_unknown_job() -> None:
    with pytest.raises(JobDoesNotExist):
        stack(uuid.uuid4(), timeout=0)


def test_worker_that_does_not_answer_is_told(running: Job) -> None:
    found = stack(running.pk, timeout=0, by="ann")
    assert found.frames == []
    assert "has not answered within 0 s" in found.problem
    assert Command.objects.get().created_by == "ann"
    with pytest.raises(CommandError, match="has not answered"):
        call_command("jobs", "stack", str(running.pk), "--timeout", "0.01")


@pytest.mark.parametrize("key", ["error", "problem"])
def test_problem_of_the_worker_is_told(running: Job, key: str, until: Any) -> None:
    def answer() -> None:
        try:
            until(lambda: Command.objects.filter(name="stack", done_at=None).exists())
            sent = Command.objects.get()
            Command.objects.update(answer={key: "it runs elsewhere"}, done_at=sent.created_at)
        finally:
            connections.close_all()

    thread = threading.Thread(target=answer)
    thread.start()
    found = stack(running.pk, timeout=60)
    thread.join()
    assert (found.frames, found.problem) == ([], "it runs elsewhere")
