from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..serialization import type_of
from .fields import JSONTextField, MomentField

#: The columns that say when a schedule runs. Beat plans the next run anew when one changes.
TIMING = (
    "kind", "interval_seconds", "crontab", "clocked_at", "solar_event", "latitude", "longitude",
    "timezone", "enabled", "starts_at", "ends_at",
)  # fmt: skip
# Beat writes these at any moment: a form that was opened before must not write them back.
_BEATS_OWN = (
    "next_run_at", "planned_for", "last_run_at", "last_job_id", "run_count", "skipped_count",
    "last_error",
)  # fmt: skip


def default_timezone() -> str:
    return settings.TIME_ZONE or "UTC"


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def update(self, **kwargs: Any) -> int:
        """Update the rows; beat keeps a ``next_run_at`` that is given here."""
        if "next_run_at" in kwargs:
            kwargs.setdefault("planned_for", "")
        return super().update(**kwargs)


class Schedule(models.Model):
    """When beat enqueues which job.

    An enabled schedule without ``next_run_at`` is planned by beat, from the moment it sees it, and
    so is one whose times were changed after it was planned.
    """

    class Kind(models.TextChoices):
        INTERVAL = "interval", _("interval")
        CRONTAB = "crontab", _("crontab")
        CLOCKED = "clocked", _("at one time")
        SOLAR = "solar", _("solar event")

    class Missed(models.TextChoices):
        SKIP = "skip", _("skip")
        LATEST = "latest", _("run the latest")
        ALL = "all", _("run all")

    class Overlap(models.TextChoices):
        ALLOW = "allow", _("allow")
        SKIP = "skip", _("skip while the previous run has not ended")

    class Source(models.TextChoices):
        ADMIN = "admin", _("made in the admin")
        CODE = "code", _("from code")
        CHANGED = "changed", _("changed by hand")
        GONE = "gone", _("gone from code")

    name = models.CharField(_("name"), max_length=200, unique=True)
    description = models.TextField(_("description"), default="", blank=True)
    job_name = models.CharField(_("job function"), max_length=255)
    args = JSONTextField(_("arguments"), default=list, blank=True)
    kwargs = JSONTextField(_("keyword arguments"), default=dict, blank=True)

    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    interval_seconds = models.FloatField(_("interval in seconds"), null=True, blank=True)
    crontab = models.CharField(_("crontab"), max_length=1000, default="", blank=True)
    clocked_at = MomentField(_("time"), null=True, blank=True)
    solar_event = models.CharField(_("solar event"), max_length=24, default="", blank=True)
    latitude = models.FloatField(_("latitude"), null=True, blank=True)
    longitude = models.FloatField(_("longitude"), null=True, blank=True)
    timezone = models.CharField(_("time zone"), max_length=64, default=default_timezone)

    enabled = models.BooleanField(_("enabled"), default=True)
    one_off = models.BooleanField(_("run once"), default=False)
    starts_at = MomentField(_("starts"), null=True, blank=True)
    ends_at = MomentField(_("ends"), null=True, blank=True)
    jitter_seconds = models.FloatField(_("jitter in seconds"), default=0)
    missed = models.CharField(
        _("missed ticks"), max_length=6, choices=Missed.choices, default=Missed.LATEST
    )
    missed_limit = models.PositiveIntegerField(_("most missed ticks to run"), default=100)
    deadline_seconds = models.FloatField(_("starting deadline in seconds"), null=True, blank=True)
    overlap = models.CharField(
        _("overlap"), max_length=5, choices=Overlap.choices, default=Overlap.ALLOW
    )

    queue = models.CharField(_("queue"), max_length=100, default="", blank=True)
    priority = models.SmallIntegerField(_("priority"), null=True, blank=True)
    expires_seconds = models.FloatField(_("expires after seconds"), null=True, blank=True)
    headers = JSONTextField(_("headers"), null=True, blank=True)

    next_run_at = MomentField(_("next run"), null=True, blank=True)
    # The digest of the times that beat computed next_run_at from. Beat plans a schedule anew when
    # its times have another digest, and keeps next_run_at where this is empty.
    planned_for = models.CharField(max_length=32, default="", blank=True, editable=False)
    last_run_at = models.DateTimeField(_("last run"), null=True, blank=True)
    last_job_id = models.UUIDField(null=True, blank=True)
    run_count = models.BigIntegerField(_("runs"), default=0)
    skipped_count = models.BigIntegerField(_("skipped"), default=0)
    last_error = models.TextField(_("last error"), default="", blank=True)
    source = models.CharField(
        _("source"), max_length=7, choices=Source.choices, default=Source.ADMIN
    )
    # The entry in the code: it tells an operator's change from a deploy's.
    code_digest = models.CharField(max_length=64, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    #: The timing and the next run that the row has, as far as this object knows.
    _stored: dict[str, Any] | None = None

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = [("run_schedule", _("Can run schedules at once"))]
        # Not partial: Django spells "enabled" in other ways from version to version, and a disabled
        # schedule has no next run.
        indexes = [models.Index(fields=["next_run_at"], name="django_jobs_schedule_next")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Write what people decide, and a new ``next_run_at`` where they changed it or the times.

        What beat writes is left alone.
        """
        if not self._state.adding:
            update_fields = self._written(update_fields)
        super().save(*args, update_fields=update_fields, **kwargs)
        self._remember()

    def _written(self, given: Iterable[str] | None) -> set[str]:
        """Return the names of the columns to write; *given* are those that the caller names."""
        stored = self._stored or {}
        changed = {
            name
            for name, value in self._timing().items()
            if name not in stored or value != stored[name]
        }
        if given is None:
            columns = {
                field.attname for field in self._meta.concrete_fields if not field.primary_key
            }
            columns -= {*_BEATS_OWN, *self.get_deferred_fields()}
            # Beat turns off what ran for the last time: only who changes it writes it.
            columns -= {"enabled"} - changed
        else:
            columns = set(given)
            changed &= columns
        if "next_run_at" in changed:
            # update_or_create() names every time among its columns: only the value tells.
            self.planned_for = ""
            columns |= {"next_run_at", "planned_for"}
        elif changed:
            self.next_run_at = None
            columns.add("next_run_at")
        return columns

    def _timing(self) -> dict[str, Any]:
        """Return what is loaded of the times and of the next run."""
        loaded = vars(self)
        return {name: loaded[name] for name in (*TIMING, "next_run_at") if name in loaded}

    def _remember(self) -> None:
        self._stored = self._timing()

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Schedule:
        schedule = super().from_db(*args, **kwargs)
        schedule._remember()
        return schedule

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._remember()

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments; raise ``ValueError`` when they are no such thing."""
        for name, value, kind in (("args", self.args, list), ("kwargs", self.kwargs, dict)):
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be a JSON {_JSON[kind]}, got {type_of(value)}.")
        return self.args, self.kwargs


_JSON: dict[type, str] = {list: "array", dict: "object"}
