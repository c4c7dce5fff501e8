"""The columns of the list of workers and the fields of a worker's page."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..display.times import duration
from ..models import Worker
from .badges import elapsed, moment, worker_badge
from .base import _Mixed

SHORT_FIELDS = ("name", "state", "process", "pool", "busy_slots", "served", "heartbeat")


class WorkerFields(_Mixed):
    """The fields of one worker that :class:`~django_jobs.admin.WorkerAdminMixin` shows."""

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Worker) -> SafeString:
        return worker_badge(worker, bool(vars(worker)["is_live"]))

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
    def busy_slots(self, worker: Worker) -> str:
        return "–" if worker.pool == Worker.BEAT else f"{worker.busy}/{worker.slots}"

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
    def memory(self, worker: Worker) -> str:
        return "–" if worker.memory_bytes is None else filesizeformat(worker.memory_bytes)

    @admin.display(description=gettext_lazy("started"))
    def started(self, worker: Worker) -> SafeString:
        return moment(worker.started_at, precise=True)

    @admin.display(description=gettext_lazy("stopped"))
    def stopped(self, worker: Worker) -> SafeString:
        return moment(worker.stopped_at, precise=True)

    @admin.display(description=gettext_lazy("lost"))
    def lost(self, worker: Worker) -> SafeString:
        return moment(worker.lost_at, precise=True)
