"""The form of a schedule; it refuses schedules that beat could not fire."""

from __future__ import annotations

import functools
import zoneinfo
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define import registry
from ..define.sensitive import redact, shown_schedule
from ..display.schedule_text import SOLAR_LABELS, UNITS, split_interval
from ..models import Schedule
from ..redaction import REDACTED
from ..schedules.validation import COLUMNS, problems

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Schedule]
else:
    _ModelForm = forms.ModelForm

_PERIODS = [
    ("seconds", gettext_lazy("seconds")),
    ("minutes", gettext_lazy("minutes")),
    ("hours", gettext_lazy("hours")),
    ("days", gettext_lazy("days")),
    ("weeks", gettext_lazy("weeks")),
]
_EMPTY = {"crontab": "", "solar_event": ""}
# In place of a stored value that does not exist.
_NOWHERE: Any = ...


def _text_area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "cols": 60, "spellcheck": "false"})


class ScheduleForm(_ModelForm):
    """Offers the registered job functions; the arguments must be JSON that fits the signature."""

    job_name = forms.ChoiceField(label=gettext_lazy("Job function"))
    args = forms.JSONField(
        label=gettext_lazy("Arguments"), required=False, widget=_text_area(2),
        help_text=gettext_lazy("A JSON array, as in [42, \"monthly\"]."),
    )  # fmt: skip
    kwargs = forms.JSONField(
        label=gettext_lazy("Keyword arguments"), required=False, widget=_text_area(3),
        help_text=gettext_lazy("A JSON object, as in {\"user_id\": 42}."),
    )  # fmt: skip
    headers = forms.JSONField(
        label=gettext_lazy("Headers"), required=False, widget=_text_area(2),
        help_text=gettext_lazy("A JSON object that is stored with the job."),
    )  # fmt: skip
    every = forms.FloatField(label=gettext_lazy("Every"), required=False)
    period = forms.ChoiceField(label=gettext_lazy("Period"), choices=_PERIODS, required=False)
    solar_event = forms.ChoiceField(label=gettext_lazy("Event"), required=False)
    timezone = forms.ChoiceField(label=gettext_lazy("Time zone"))

    class Meta:
        model = Schedule
        exclude = ("interval_seconds", "next_run_at", "last_run_at", "last_job_id", "source")
        widgets = {"description": forms.Textarea(attrs={"rows": 2, "cols": 60})}
        help_texts = {
            "crontab": gettext_lazy(
                "Minute, hour, day of month, month, day of week: “0 8 * * mon-fri”, "
                "“*/15 * * * *”, “@daily”."
            ),
            "missed": gettext_lazy("What to do with ticks at which no beat was running."),
            "deadline_seconds": gettext_lazy("A tick that is later than this is skipped."),
            "jitter_seconds": gettext_lazy("Each run is delayed by a random part of this."),
            "queue": gettext_lazy("Empty: the job function's."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schedule = self.instance
        names = [each.name for each in registry.every() if each.name not in registry.INTERNAL]
        if schedule.pk and schedule.job_name not in names:
            names.append(schedule.job_name)  # shown, but refused on save
        zones = sorted({*_zones(), schedule.timezone})
        self._choose("job_name", [("", "---------"), *((name, name) for name in names)])
        self._choose("timezone", [(name, name) for name in zones])
        self._choose("solar_event", [("", "---------"), *SOLAR_LABELS.items()])
        if not schedule.pk:
            self.initial.setdefault("timezone", settings.TIME_ZONE)
        every, period = split_interval(schedule.interval_seconds)
        self.initial.update(every=every, period=period, **shown_arguments(schedule))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        moved = "job_name" in self.changed_data
        for name, empty in (("args", []), ("kwargs", {}), ("headers", None)):
            value = empty if cleaned.get(name) is None else cleaned[name]
            # The page shows secrets as blanks; a blank that comes back keeps the stored value.
            try:
                stored = _NOWHERE if moved else getattr(self.instance, name)
                cleaned[name] = unblanked(value, stored)
            except ValidationError as error:
                self.add_error(name, error)
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        # A field with an error left its old value in the column.
        unread = set(self.errors)
        if unread & {"args", "kwargs", "job_name"}:
            unread |= {"args", "kwargs"}
        every = self.cleaned_data.get("every")
        length = dict(UNITS)[self.cleaned_data.get("period") or "seconds"]
        self.instance.interval_seconds = None if every is None else every * length
        self._empty_other_kinds()
        for column, texts in problems(self.instance).items():
            name = "every" if column == "interval_seconds" else column
            if name not in unread:
                self.add_error(name, [ValidationError(text) for text in texts])
        clocked_at = self.cleaned_data.get("clocked_at")
        new = "clocked_at" in self.changed_data and self.instance.kind == Schedule.Kind.CLOCKED
        if new and self.instance.enabled and clocked_at and clocked_at <= timezone.now():
            self.add_error(
                "clocked_at", _("This time is in the past: the schedule would never run.")
            )

    def _empty_other_kinds(self) -> None:
        for kind, columns in COLUMNS.items():
            if kind != self.instance.kind:
                for column in columns:
                    setattr(self.instance, column, _EMPTY.get(column))

    def _choose(self, name: str, choices: list[tuple[str, Any]]) -> None:
        field: Any = self.fields.get(name)  # a read-only page has no fields
        if field is not None:
            field.choices = choices


@functools.cache
def _zones() -> frozenset[str]:
    # It reads hundreds of files, so it is called once.
    return frozenset(zoneinfo.available_timezones())


def shown_arguments(schedule: Schedule) -> dict[str, Any]:
    """Return args, kwargs and headers without their secrets."""
    shown = shown_schedule(schedule)
    headers = shown.value(schedule.headers)
    return {"args": shown.args, "kwargs": shown.kwargs, "headers": headers}


def unblanked(value: Any, stored: Any) -> Any:
    """Return *value* with every blank replaced by the value at the same position in *stored*.

    Raises ``ValidationError`` for a blank without such a value: moved elsewhere, or given to
    another job function, a secret would become visible or change its meaning.
    """
    if isinstance(value, str) and REDACTED in value:
        # Only a part of a text may be blank, such as a password in a URL.
        is_kept = stored is not _NOWHERE if value == REDACTED else redact(stored) == value
        if not is_kept:
            text = _(
                "Replace %s by a new value: a hidden value is kept only at the same position, "
                "for the same job function, in a list of the same length."
            )
            raise ValidationError(text % REDACTED)
        return stored
    if isinstance(value, dict):
        known = stored if isinstance(stored, dict) else {}
        return {key: unblanked(item, known.get(key, _NOWHERE)) for key, item in value.items()}
    if isinstance(value, list):
        is_same = isinstance(stored, list) and len(stored) == len(value)
        values = stored if is_same else [_NOWHERE] * len(value)
        return [unblanked(*pair) for pair in zip(value, values, strict=True)]
    return value
