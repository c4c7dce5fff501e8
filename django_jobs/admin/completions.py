"""The completions of the search field: the qualifiers, with the values that the filters offer."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.admin.views.main import ChangeList

from ..define import registry
from ..define.hidden_arguments import rules_of
from ..display.argument_search import sensitive_names
from ..display.job_text import short_class
from ..redaction import is_sensitive

# A browser shows the first of them that match.
_MOST = 300
_QUALIFIERS = {"name": "job", "queue": "queue", "error": "error"}


def completions(changelist: ChangeList) -> list[str]:
    """Return the words of the search in their order, without hidden arguments."""
    return list(dict.fromkeys(_words(changelist)))[:_MOST]


def _words(changelist: ChangeList) -> Iterator[str]:
    for spec in changelist.filter_specs:
        name = _QUALIFIERS.get(getattr(spec, "parameter_name", ""))
        for value, _label in getattr(spec, "lookup_choices", ()) if name else ():
            yield f"{name}:{value if name == 'queue' else short_class(value)}"
    hidden = sensitive_names()
    for function in registry.every():
        rules = rules_of(function.name)
        for name in (*rules.positional, *sorted(rules.named)):
            if not (rules.hides_name(name) or is_sensitive(name, hidden)):
                yield f"args.{name}:"
