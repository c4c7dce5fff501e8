from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ..models import Queue
from .badges import moment
from .readonly import ModelAdmin, ReadOnlyAdminMixin


class QueueAdminMixin(ReadOnlyAdminMixin):
    """What operators set for queues."""

    list_display = ("name", "paused_since", "paused_by", "max_pending", "concurrency", "rate_limit")
    fields = (*list_display, "target_seconds")
    readonly_fields = fields
    search_fields = ("name",)
    ordering = ("name",)

    @admin.display(description=gettext_lazy("paused since"))
    def paused_since(self, queue: Queue) -> SafeString:
        return moment(queue.paused_at)


class QueueAdmin(QueueAdminMixin, ModelAdmin):
    pass
