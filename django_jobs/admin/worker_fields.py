"""The columns of the list of workers and the fields of a worker's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..display.times import duration
from ..models import Worker
from ..process.samples import MINUTES
from .badges import elapsed, moment, worker_badge
from .base import _Mixed
from .charts import sparkline
from .worker_samples import samples_of

SHORT_FIELDS = ("name", "state", "process", "pool", "busy_slots", "served", "heartbeat")


class WorkerFields(_Mixed):
    """The fields of one worker that :class:`~django_jobs.admin.WorkerAdminMixin` shows."""

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Worker) -> SafeString:
        return worker_badge(
            is_live=bool(vars(worker)["is_live"]),
            is_quiet=worker.quiet,
            is_stopped=worker.stopped_at is not None,
        )

    @admin.display(description=gettext_lazy("process"))
    def process(self, worker: Worker) -> str:
        return f"{worker.hostname}:{worker.pid}"

    def facts(self, worker: Worker) -> Iterator[tuple[str, SafeString | str]]:
        """Yield the labels and values of a worker's page; some may be empty."""
        yield _("State"), self.state(worker)
        yield _("Busy slots"), self.busy_slots(worker)
        yield _("Queues"), self.served(worker)
        yield _("Heartbeat"), self.heartbeat(worker)
        yield _("Uptime"), self.uptime(worker)
        yield _("Jobs done"), number_format(worker.jobs_done, force_grouping=True)
        yield _("Memory"), self.memory(worker) if worker.memory_bytes is not None else ""
        yield _("Pool"), worker.pool
        yield _("Process"), self.process(worker)
        yield _("Started"), self.started(worker)
        yield _("Stopped"), self.stopped(worker) if worker.stopped_at else ""
        yield _("Lost"), self.lost(worker) if worker.lost_at else ""
        yield _("Version"), worker.version

    @admin.display(description=gettext_lazy("busy slots"))
    def busy_slots(self, worker: Worker) -> SafeString | str:
        if worker.pool == Worker.BEAT:
            return "–"
        now = f"{worker.busy}/{worker.slots}"
        past = _past([one and one.busy for one in samples_of(worker)])
        known = [value for value in past if value is not None]
        if not any(known):
            return now
        label = _("Busy slots in the past hour: %(mean)s of %(slots)s on average") % {
            "mean": number_format(round(sum(known) / len(known), 1), 1), "slots": worker.slots,
        }  # fmt: skip
        return _with_past(now, sparkline(past, label, top=worker.slots))

    @admin.display(description=gettext_lazy("queues"))
    def served(self, worker: Worker) -> str:
        if worker.pool == Worker.BEAT:
            return _("schedules")
        named = ", ".join(map(str, worker.queues)) if worker.queues else _("all queues")
        if not worker.exclude_queues:
            return named
        return _("%(queues)s but %(excluded)s") % {
            "queues": named,
            "excluded": ", ".join(map(str, worker.exclude_queues)),
        }

    @admin.display(description=gettext_lazy("heartbeat"))
    def heartbeat(self, worker: Worker) -> SafeString:
        return moment(worker.heartbeat_at)

    @admin.display(description=gettext_lazy("uptime"))
    def uptime(self, worker: Worker) -> SafeString | str:
        until = worker.stopped_at or worker.lost_at
        return duration(until - worker.started_at) if until else elapsed(worker.started_at)

    @admin.display(description=gettext_lazy("memory"))
    def memory(self, worker: Worker) -> SafeString | str:
        if worker.memory_bytes is None:
            return "–"
        now = filesizeformat(worker.memory_bytes)
        past = _past([one and one.memory_bytes for one in samples_of(worker)])
        most = max((value for value in past if value is not None), default=0)
        if not most:
            return now
        label = _("Memory in the past hour: at most %s") % filesizeformat(most)
        return _with_past(now, sparkline(past, label))

    @admin.display(description=gettext_lazy("started"))
    def started(self, worker: Worker) -> SafeString:
        return moment(worker.started_at, precise=True)

    @admin.display(description=gettext_lazy("stopped"))
    def stopped(self, worker: Worker) -> SafeString:
        return moment(worker.stopped_at, precise=True)

    @admin.display(description=gettext_lazy("lost"))
    def lost(self, worker: Worker) -> SafeString:
        return moment(worker.lost_at, precise=True)


def _past(found: Sequence[float | None]) -> list[float | None]:
    """Return one number for each minute of the past hour."""
    return [None] * (MINUTES - len(found)) + [*found]


def _with_past(now: str, past: SafeString) -> SafeString:
    return format_html('<span class="jobs-with-past">{} {}</span>', now, past)
