"""Sentry in a real worker that forks: the SDK is set up in the settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from django_jobs import chord
from django_jobs.contrib.sentry import DjangoJobsIntegration
from tests import jobs
from tests.contrib.envelopes import Kept
from tests.contrib.sentry_tracer import instrumented

pytestmark = pytest.mark.once


@pytest.fixture
def kept() -> Any:
    kept = Kept()
    with instrumented() as instrument:
        # The first one in a process registers the tracer.
        sentry_sdk.init(
            "http://key@localhost/1",
            transport=kept,
            traces_sample_rate=1.0,
            default_integrations=False,
            integrations=[DjangoJobsIntegration()],
        )
        instrument()
        yield kept
        sentry_sdk.get_global_scope().set_client(None)


def test_processes_send_their_own_items_before_they_end(
    runworker: Callable[..., Any], kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sentry"
    monkeypatch.setenv("TEST_SENTRY", str(file))
    with sentry_sdk.start_transaction(name="view", op="http.server") as view:
        result = chord([jobs.add.s(1, 2), jobs.add.s(3, 4)])(jobs.fail.s())
    worker = runworker("--burst", "--processes", "2", "--settings", "tests.sentry_settings")
    assert worker.wait() == 0, worker.output()
    items = [json.loads(line) for line in file.read_text().splitlines()]
    messages = [item for _pid, kind, item in items if kind == "event" and "exception" not in item]
    assert sorted(item["message"] for item in messages) == [
        f"message {number} of the settings" for number in range(3)
    ]
    (event,) = [item for _pid, kind, item in items if kind == "event" and "exception" in item]
    exception = event["exception"]["values"][0]
    assert (exception["type"], exception["value"]) == ("ValueError", "[3, 7]")
    assert [frame["function"] for frame in exception["stacktrace"]["frames"]] == ["fail"]
    assert event["tags"] == {"job": jobs.fail.name, "queue": "default", "attempt": "1"}
    assert event["contexts"]["job"]["id"] == str(result.id)
    transactions = [item for _pid, kind, item in items if kind == "transaction"]
    names = sorted(item["transaction"] for item in transactions)
    assert names == [jobs.add.name, jobs.add.name, jobs.fail.name]
    (publish,) = kept.transactions[0]["spans"]
    traces = [item["contexts"]["trace"] for item in transactions]
    assert {(trace["trace_id"], trace["parent_span_id"]) for trace in traces} == {
        (view.trace_id, publish["span_id"])
    }
    assert worker.process.pid not in {pid for pid, kind, _item in items if kind == "transaction"}
