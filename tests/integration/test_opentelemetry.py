"""Spans and metrics leave a real worker: set up after the fork, exported at the process's end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.telemetry import Telemetry, id_of, trace_of
from tests.workflows.jobs import add, become

pytestmark = pytest.mark.once

SITE = """
import os
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor
from django_jobs.signals import worker_process_init

HOUR = 3_600_000  # milliseconds: nothing is exported before the end
DjangoJobsInstrumentor().instrument()

def line(data):
    return data.to_json(indent=None) + "\\n"

@worker_process_init.connect
def set_up(sender, pid, **named):
    spans = ConsoleSpanExporter(out=open({path!r} + "spans", "a"), formatter=line)
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=HOUR))
    trace.set_tracer_provider(tracers)
    out = ConsoleMetricExporter(out=open({path!r} + "metrics", "a"), formatter=line)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(out, HOUR)]))
"""
SETTINGS = """
from tests.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "traced"]
DJANGO_JOBS = {"IMPORTS": ["tests.workflows.jobs"]}
"""
# Solo has the loop of prefork, and threads run jobs as both do.
POOLS = {"prefork": ["--processes", "1"], "asyncio": []}


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    telemetry.instrument()
    yield telemetry
    telemetry.shutdown()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_pool_exports_its_spans_and_metrics(
    telemetry: Telemetry, runworker: Callable[..., Any], tmp_path: Path
) -> None:
    roots, workers = {}, {}
    for pool in POOLS:
        with telemetry.tracers.get_tracer("web").start_as_current_span(pool) as root:
            become.apply_async((add.si(1, 2).set(queue=pool),), queue=pool)
        roots[pool] = trace_of(root)
    # One start for all, because they take most of the time.
    for pool, size in POOLS.items():
        app = tmp_path / pool / "traced"
        app.mkdir(parents=True)
        (app / "__init__.py").touch()
        (app / "jobs.py").write_text(SITE.format(path=f"{app}/"))
        (app.parent / "traced_settings.py").write_text(SETTINGS)
        place = ["--settings", "traced_settings", "--pythonpath", str(app.parent)]
        workers[pool] = runworker("--burst", "-P", pool, "-Q", pool, *place, *size)
    for pool, worker in workers.items():
        assert worker.wait() == 0, worker.output()
        spans = lines(tmp_path / pool / "traced" / "spans")
        assert len(spans) == 3, worker.output()
        assert {span["context"]["trace_id"] for span in spans} == {f"0x{roots[pool]:032x}"}
        (sent,) = [span for span in telemetry.named("send become") if trace_of(span) == roots[pool]]
        # The enqueue in this process, the attempt, its replacement, and the attempt at that.
        chain = [f"0x{id_of(sent):016x}"]
        for name in ("process", "send", "process"):
            (span,) = [span for span in spans if span["parent_id"] == chain[-1]]
            assert span["name"].startswith(name)
            chain.append(span["context"]["span_id"])
        assert counts(tmp_path / pool / "traced" / "metrics") == {
            "messaging.client.consumed.messages": 2,
            "messaging.process.duration": 2,
            "messaging.client.sent.messages": 1,
            "messaging.client.operation.duration": 1,
        }


def counts(path: Path) -> dict[str, int]:
    """Return the sum of each metric of ours, which was exported once."""
    (told,) = lines(path)
    scopes = told["resource_metrics"][0]["scope_metrics"]
    (metrics,) = [each["metrics"] for each in scopes if each["scope"]["name"] == "django_jobs"]
    return {
        metric["name"]: sum(
            point.get("value", point.get("count")) for point in metric["data"]["data_points"]
        )
        for metric in metrics
    }
