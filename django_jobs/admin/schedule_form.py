"""The form of a schedule; it refuses schedules that beat could not fire."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..define import registry
from ..display.schedule_text import SOLAR_LABELS, UNITS, split_interval
from ..models import Schedule
from ..schedules.validation import COLUMNS, problems
from .schedule_arguments import ScheduleArguments, calls_another
from .schedule_blanks import NOWHERE, shown_arguments, unblanked

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
_CALL = ("args", "kwargs")
_EMPTY = {"crontab": "", "solar_event": ""}


def _text_area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "cols": 60, "spellcheck": "false"})


class LongSelect(forms.Select):
    """A select with hundreds of choices, for each of which Django would render two templates."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        widget = self.get_context(name, value, attrs)["widget"]
        options = format_html_join(
            "\n", '<option value="{}"{}>{}</option>',
            (
                (one["value"], mark_safe(" selected") if one["selected"] else "", one["label"])
                for _group, some, _index in widget["optgroups"]
                for one in some
            ),
        )  # fmt: skip
        return format_html(
            '<select name="{}"{}>\n{}\n</select>', name, flatatt(widget["attrs"]), options
        )


class ScheduleForm(_ModelForm):
    """Offers the registered job functions.

    ``arguments`` are the fields of the chosen function. Where there are none, ``args`` and
    ``kwargs`` take JSON that fits the signature.
    """

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
    timezone = forms.ChoiceField(label=gettext_lazy("Time zone"), widget=LongSelect)

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
        name = self.data.get("job_name", "") if self.is_bound else self.initial.get("job_name")
        given = self.data if self.is_bound else None
        self.arguments = ScheduleArguments(schedule, str(name or ""), given)
        if not self.arguments.is_json:
            for column in _CALL:
                self.fields[column].disabled = True

    @property
    def argument_fields(self) -> Any:
        """The fields of the arguments, as the page shows them."""
        return self.arguments.form or [self[name] for name in _CALL if self.arguments.is_json]

    @cached_property
    def changed_data(self) -> list[str]:
        changed: list[str] = super().changed_data
        return [*changed, "args"] if self.arguments.have_changed else changed

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name, empty in (("args", []), ("kwargs", {}), ("headers", None)):
            if cleaned.get(name) is None:
                cleaned[name] = empty
        if self.arguments.is_json:
            other = calls_another(self.instance, cleaned["args"], cleaned["kwargs"])
            self._unblank(cleaned, _CALL, moved=other)
        else:
            self._take_fields(cleaned)
        self._unblank(cleaned, ("headers",))
        return cleaned

    def _unblank(self, cleaned: dict[str, Any], names: Iterable[str], moved: bool = False) -> None:
        """The page shows secrets as blanks; a blank that comes back keeps the stored value."""
        moved = moved or "job_name" in self.changed_data
        for name in names:
            try:
                stored = NOWHERE if moved else getattr(self.instance, name)
                cleaned[name] = unblanked(cleaned[name], stored)
            except ValidationError as error:
                self.add_error(name, error)

    def _take_fields(self, cleaned: dict[str, Any]) -> None:
        call = self.arguments.call()
        if call is not None:
            cleaned["args"], cleaned["kwargs"] = call
        elif self.arguments.are_others:
            text = _("Enter the arguments of this job function, and save again.")
            self.add_error("job_name" if self.arguments.name else "args", text)
        else:
            # The fields show their own errors.
            self.add_error("args", _("Correct the arguments."))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        # A field with an error left its old value in the column.
        unread = set(self.errors)
        if unread & {*_CALL, "job_name"}:
            unread |= {*_CALL}
        else:
            # The admin has no such fields: the page shows them apart from the others.
            self.instance.args = self.cleaned_data["args"]
            self.instance.kwargs = self.cleaned_data["kwargs"]
        every = self.cleaned_data.get("every")
        length = dict(UNITS)[self.cleaned_data.get("period") or "seconds"]
        self.instance.interval_seconds = None if every is None else every * length
        self._empty_other_kinds()
        for column, texts in problems(self.instance).items():
            name = "every" if column == "interval_seconds" else column
            if name not in unread:
                self.add_error(name, [ValidationError(text) for text in texts])
                if name in _CALL and self.arguments.form is not None:
                    self.arguments.form.add_error(None, texts)
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
