from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, Case, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..conf import get_settings
from ..dialects import clock
from ..models import Worker
from .badges import moment, worker_badge
from .readonly import ModelAdmin, ReadOnlyAdminMixin

_FIELDS = ("name", "state", "hostname", "pid", "pool", "busy_slots", "served", "heartbeat")


class WorkerAdminMixin(ReadOnlyAdminMixin):
    """The worker processes: which of them live, what they serve, and when they were last heard."""

    list_display = _FIELDS
    fields = (*_FIELDS, "started", "stopped", "lost", "jobs_done", "version")
    readonly_fields = fields
    search_fields = ("name", "hostname")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Leases run by the database's clock: this host's may be wrong.
        lives = When(
            stopped_at=None,
            lost_at=None,
            lease_until__gte=clock(get_settings().database),
            then=Value(True),
        )
        workers = super().get_queryset(request)
        live = Case(lives, default=Value(False), output_field=BooleanField())
        known: QuerySet[Any] = workers.annotate(is_live=live)
        return known

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Worker) -> SafeString:
        return worker_badge(worker, bool(vars(worker)["is_live"]))

    @admin.display(description=gettext_lazy("busy slots"))
    def busy_slots(self, worker: Worker) -> str:
        return "–" if worker.pool == Worker.BEAT else f"{worker.busy}/{worker.slots}"

    @admin.display(description=gettext_lazy("queues"))
    def served(self, worker: Worker) -> str:
        if worker.pool == Worker.BEAT:
            return _("schedules")
        return ", ".join(map(str, worker.queues)) if worker.queues else _("all queues")

    @admin.display(description=gettext_lazy("heartbeat"))
    def heartbeat(self, worker: Worker) -> SafeString:
        return moment(worker.heartbeat_at)

    @admin.display(description=gettext_lazy("started"))
    def started(self, worker: Worker) -> SafeString:
        return moment(worker.started_at, precise=True)

    @admin.display(description=gettext_lazy("stopped"))
    def stopped(self, worker: Worker) -> SafeString:
        return moment(worker.stopped_at, precise=True)

    @admin.display(description=gettext_lazy("lost"))
    def lost(self, worker: Worker) -> SafeString:
        return moment(worker.lost_at, precise=True)


class WorkerAdmin(WorkerAdminMixin, ModelAdmin):
    pass
