"""How OpenTelemetry is turned on, and what the system check says of one half."""

from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from opentelemetry import propagate
from opentelemetry.instrumentation.distro import DefaultDistro
from opentelemetry.propagators.composite import CompositePropagator

from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor
from django_jobs.contrib.opentelemetry.checks import check_opentelemetry
from django_jobs.define import instrumentation
from django_jobs.signals import send_of_worker, worker_process_init, worker_process_shutdown
from tests.contrib.telemetry import Telemetry

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_instrumentation")]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def instrumentor() -> Iterator[DjangoJobsInstrumentor]:
    instrumentor = DjangoJobsInstrumentor()
    yield instrumentor
    instrumentor.uninstrument()


def found() -> list[checks.CheckMessage]:
    assert check_opentelemetry in checks.registry.registry.registered_checks
    return check_opentelemetry(None)


def test_it_is_on_once(
    instrumentor: DjangoJobsInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    assert not instrumentor.is_instrumented_by_opentelemetry
    instrumentor.instrument()
    DjangoJobsInstrumentor().instrument()
    assert len(instrumentation.instrumentations) == 1
    assert [each.message for each in caplog.records] == [
        "already instrumented: uninstrument() comes first"
    ]
    assert DjangoJobsInstrumentor().is_instrumented_by_opentelemetry


def test_unknown_option_is_refused(instrumentor: DjangoJobsInstrumentor) -> None:
    with pytest.raises(TypeError, match=r"^instrument\(\) has no option queue_metric\. Use "):
        instrumentor.instrument(queue_metric=True)
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_opentelemetry_instrument_finds_it(instrumentor: DjangoJobsInstrumentor) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    group = "opentelemetry_instrumentor"
    name, _equals, value = parser["options.entry_points"][group].strip().partition(" = ")
    DefaultDistro().load_instrumentor(EntryPoint(name, value, group), skip_dep_check=True)
    assert instrumentor.is_instrumented_by_opentelemetry
    assert list(instrumentor.instrumentation_dependencies()) == []


def test_it_needs_no_settings_and_no_apps() -> None:
    # The command calls it before the project's code.
    code = (
        "from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor\n"
        "DjangoJobsInstrumentor().instrument(queue_metrics=True)\n"
        "import sys; print('django_jobs.models' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                         env={"PATH": ""}, check=False)  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("False\n", "")


def test_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\nimport django_jobs.contrib.opentelemetry"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                         check=False)  # fmt: skip
    assert ran.stderr.endswith(
        "ImproperlyConfigured: django_jobs.contrib.opentelemetry needs opentelemetry-api. Run pip "
        "install 'django-background-jobs[opentelemetry]'.\n"
    )


def test_providers_are_flushed_at_the_end_of_a_process() -> None:
    class Flushed:
        def __init__(self, error: Exception | None = None) -> None:
            self.number, self.error = 0, error

        def get_tracer(self, *_: Any, **__: Any) -> Any:
            return None

        def force_flush(self) -> None:
            self.number += 1
            if self.error:
                raise self.error

    tracers, telemetry = Flushed(OSError("the collector is away")), Telemetry()
    meters = telemetry.meters
    number: list[int] = []
    meters.force_flush = lambda *_: number.append(1) or True  # type: ignore[method-assign]
    instrumentor = DjangoJobsInstrumentor()
    provider: Any = tracers
    instrumentor.instrument(tracer_provider=provider, meter_provider=meters)
    for _ in range(2):
        send_of_worker(worker_process_shutdown, "w", queues=[])
        instrumentor.uninstrument()
    assert (tracers.number, number) == (1, [1])
    telemetry.shutdown()


# --- the system check ---------------------------------------------------------------------------


def test_sdk_that_is_missing_is_a_warning(instrumentor: DjangoJobsInstrumentor) -> None:
    assert found() == []
    instrumentor.instrument()
    (warning,) = found()
    assert warning.id == "django_jobs.W010"
    assert warning.msg.startswith("DjangoJobsInstrumentor is on, but OpenTelemetry has no SDK")


def test_sdk_that_worker_processes_set_up_is_none(instrumentor: DjangoJobsInstrumentor) -> None:
    instrumentor.instrument()

    def set_up(**_: Any) -> None: ...

    worker_process_init.connect(set_up)
    assert found() == []
    worker_process_init.disconnect(set_up)


@pytest.mark.parametrize("kind", ["tracer_provider", "meter_provider"])
def test_one_provider_is_enough(kind: str) -> None:
    telemetry = Telemetry()
    provider = {"tracer_provider": telemetry.tracers, "meter_provider": telemetry.meters}[kind]
    DjangoJobsInstrumentor().instrument(**{kind: provider})
    assert found() == []
    telemetry.shutdown()


def test_propagator_that_is_missing_is_a_warning() -> None:
    telemetry = Telemetry()
    telemetry.instrument()
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))
    try:
        (warning,) = found()
        assert warning.id == "django_jobs.W011"
    finally:
        propagate.set_global_textmap(before)
        telemetry.shutdown()
