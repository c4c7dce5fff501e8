"""The arguments in the form of a schedule: a field for each parameter, or JSON.

The page says in a hidden field for which job function it shows them. If another function is chosen,
the form is not saved: it shows the fields of that function first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..api.job import JobFunction
from ..define import registry
from ..define.hidden_arguments import called_name, rules_of
from ..redaction import REDACTED
from .arguments_form import PREFIX, ArgumentsForm, bound_arguments, hidden_arguments
from .schedule_blanks import KEPT_ONLY

if TYPE_CHECKING:
    from ..models import Schedule

#: The hidden field.
SHOWN_FOR = "arguments_of"


class ScheduleArguments:
    """The arguments that the form shows; *given* are the posted values, or None.

    *name* is the chosen job function. ``form`` has a field for each parameter. It is None where
    JSON is shown: for a function that this process does not know, for stored arguments that do not
    fit the signature, and for posts of programs.
    """

    def __init__(self, schedule: Schedule, name: str, given: Mapping[str, Any] | None) -> None:
        self.name = name
        shown_for = None if given is None else given.get(SHOWN_FOR)
        #: The posted values are not those of the chosen function.
        self.are_others = shown_for is not None and shown_for != name
        self._schedule = schedule
        self._hidden: set[str] = set()
        is_json = given is not None and not self.are_others and "args" in given
        is_json = is_json or (given is not None and shown_for is None)
        function = registry.find(name) if name else None
        self.form = None if is_json or function is None else self._form_of(function, given)
        self.is_json = self.form is None and bool(name or is_json)

    @property
    def is_stored(self) -> bool:
        """Whether they are those of the row."""
        return bool(self._schedule.pk) and self._schedule.job_name == self.name

    def _form_of(
        self, function: JobFunction[..., Any, Any], given: Mapping[str, Any] | None
    ) -> ArgumentsForm | None:
        known: dict[str, Any] = {}
        schedule = self._schedule
        if self.is_stored:
            if not isinstance(schedule.args, list) or not isinstance(schedule.kwargs, dict):
                return None
            try:
                known = bound_arguments(function, schedule.args, schedule.kwargs)
            except TypeError:
                return None
            rules = rules_of(function.name)
            self._hidden = hidden_arguments(function, rules, schedule.args, schedule.kwargs, known)
        if not self.are_others:
            return ArgumentsForm(function, given, known=known, hidden=self._hidden)
        # Both functions may have parameters of the same name: the form keeps the texts of these.
        entered = {name: text for name, text in (given or {}).items() if name.startswith(PREFIX)}
        return ArgumentsForm(function, known=known, hidden=self._hidden, initial=entered)

    @property
    def have_changed(self) -> bool:
        form = self.form
        return form is not None and form.is_bound and form.has_changed_arguments

    def call(self) -> tuple[list[Any], dict[str, Any]] | None:
        """Return the entered arguments. Wrong ones and those of another function give None."""
        form = self.form
        if form is None or (not form.is_bound and form.fields):
            return None
        if not form.is_bound:  # the function has no parameters
            return [], {}
        if not form.is_valid():
            return None
        if self.is_stored and not form.has_changed_arguments:
            return self._schedule.args, self._schedule.kwargs
        args, kwargs = form.call()
        if self.is_stored and calls_another(self._schedule, args, kwargs):
            for name in self._hidden:
                if PREFIX + name not in form.changed_data:
                    form.add_error(PREFIX + name, KEPT_ONLY % REDACTED)
        return None if form.errors else (args, kwargs)


def calls_another(schedule: Schedule, args: Any, kwargs: Any) -> bool:
    """Return whether a map or starmap calls another function with these arguments than before.

    That one may show what the other one hides.
    """
    name = schedule.job_name
    before = called_name(name, *_plain(schedule.args, schedule.kwargs))
    return bool(before != called_name(name, *_plain(args, kwargs)))


def _plain(args: Any, kwargs: Any) -> tuple[Any, Any]:
    return args if isinstance(args, list) else [], kwargs if isinstance(kwargs, dict) else {}
