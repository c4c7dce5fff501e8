"""The integration that a project gives to ``sentry_sdk.init()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sentry_sdk
from sentry_sdk.integrations import DidNotEnable, Integration
from sentry_sdk.scope import add_global_event_processor
from sentry_sdk.utils import parse_version

from ...define import instrumentation
from .shown_event import without_own_variables

#: The names of the headers that carry a trace, as in HTTP.
TRACE, BAGGAGE = "sentry-trace", "baggage"


class DjangoJobsIntegration(Integration):
    """Reports failed jobs, traces enqueues and attempts, and checks schedules in.

    *report_retries* (default False) also reports attempts that are retried, as warnings.
    *propagate_traces* (default True) lets jobs continue the trace of the code that enqueues them.
    *monitor_schedules* (default False) sends check-ins of the jobs of schedules: of all, or of
    those whose names are in a list. *send_arguments* adds the arguments of the job, without the
    sensitive ones (default None: as ``data_collection`` has ``queues``, or as
    ``send_default_pii``). Raises ``TypeError`` for other values.
    """

    identifier = "django_jobs"
    origin = "auto.queue.django_jobs"

    def __init__(
        self,
        *,
        report_retries: bool = False,
        propagate_traces: bool = True,
        monitor_schedules: bool | Sequence[str] = False,
        send_arguments: bool | None = None,
    ) -> None:
        for name, value, allowed in (
            ("report_retries", report_retries, (True, False)),
            ("propagate_traces", propagate_traces, (True, False)),
            ("send_arguments", send_arguments, (True, False, None)),
        ):
            if not any(value is each for each in allowed):
                words = " or ".join(map(str, allowed))
                raise TypeError(
                    f"DjangoJobsIntegration({name}=...) must be {words}, got "
                    f"{type(value).__name__}."
                )
        if not isinstance(monitor_schedules, (bool, list, tuple, set, frozenset)):
            raise TypeError(
                "DjangoJobsIntegration(monitor_schedules=...) must be True, False or a list of "
                f"names of schedules, got {type(monitor_schedules).__name__}."
            )
        self.report_retries = report_retries
        self.propagate_traces = propagate_traces
        self.monitor_schedules = monitor_schedules
        self.send_arguments = send_arguments

    @staticmethod
    def setup_once() -> None:
        version = parse_version(sentry_sdk.VERSION)
        if version is not None and version < (2, 19):
            raise DidNotEnable(
                f"DjangoJobsIntegration needs sentry-sdk 2.19 or newer, and {sentry_sdk.VERSION} "
                "is installed: pip install 'django-background-jobs[sentry]'."
            )
        from .instrument import SentryInstrument  # which imports this module

        instrumentation.register(SentryInstrument())
        add_global_event_processor(_without_log_of_ends)
        add_global_event_processor(without_own_variables)

    def setup_once_with_options(self, options: dict[str, Any] | None = None) -> None:
        given = options or {}
        experiments = given.get("_experiments") or {}
        if "stream" in (given.get("trace_lifecycle"), experiments.get("trace_lifecycle")):
            raise DidNotEnable(
                "DjangoJobsIntegration needs transactions, and trace_lifecycle='stream' has none: "
                "secrets could not be blanked in spans that are sent one by one. Leave "
                "trace_lifecycle out."
            )

    def monitors(self, schedule: str) -> bool:
        """Return whether the jobs of the schedule of that name check in."""
        if isinstance(self.monitor_schedules, bool):
            return self.monitor_schedules
        return schedule in self.monitor_schedules

    def sends_arguments(self) -> bool:
        """Return whether events have the arguments of the job."""
        if self.send_arguments is not None:
            return self.send_arguments
        client = sentry_sdk.get_client()
        collected = client.options.get("data_collection") or {}
        if collected.get("provided_by_user"):
            return bool(collected.get("queues"))
        return client.should_send_default_pii()


def active() -> DjangoJobsIntegration | None:
    """Return the integration of the current client, or None if that has none."""
    return sentry_sdk.get_client().get_integration(DjangoJobsIntegration)


def _without_log_of_ends(event: Any, hint: dict[str, Any]) -> Any:
    """Drop the event that Sentry makes of a log line about the end of an attempt.

    The integration reports the failures among these ends itself.
    """
    record = hint.get("log_record")
    is_end = record is not None and record.name == "django_jobs.job" and hasattr(record, "status")
    return None if is_end and active() is not None else event
