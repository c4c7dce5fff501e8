"""``Job.options``: the options of one call, and what the job's workflow needs.

The column has them as one JSON object, with the keys that are not set left out::

    {"time_limit": 60, "takes": "list", "link_error": [[{"job": "shop.alert"}, null]]}

Somebody may have edited a row by hand. A value of the wrong kind reads as none, so that the end of
a job can be recorded whatever the options of another one say. ``problem`` says why the job itself
cannot run with such options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from ..moments import LONGEST_SECONDS
from ..serialization import loads

#: How a job may take results, besides nested lists of ``"value"``.
TAKES = ("value", "list", "summary", "nothing")

# Regular expressions for the column's JSON text, as the database reads it. takes is the last key of
# what stored() returns, so its value ends the object. A text inside of the object has \" for ".
TAKES_A_RESULT = r'[{,]"takes":("(value|list|summary)"|\[(\[|\]|"|,|[a-z])*\])\}$'
# No job that may take a result is without it, also after an edit by hand.
MAY_TAKE_A_RESULT = r'"takes"\s*:'

#: The JSON form of a signature, and the place of the first job whose failure it handles.
StoredErrback: TypeAlias = tuple[Any, str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class CallOptions:
    """The options by which one call differs from its job function; None: the function's own.

    Times are in seconds.
    """

    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None
    max_retries: int | None = None
    #: True, False or seconds.
    retry_backoff: bool | float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """The options of a job in its workflow."""

    #: How it takes the results of its parents: see :mod:`django_jobs.workflows.inputs`.
    takes: Any = None
    #: ``countdown`` and ``expires`` in seconds from when the job becomes ready.
    later: Mapping[str, float] = dataclasses.field(default_factory=dict)
    #: The errbacks, which are enqueued when the job fails.
    errbacks: tuple[StoredErrback, ...] = ()
    #: Where it stands in the order of its workflow, where its id does not say so.
    place: str | None = None
    #: The groups inside of its group: lists of ``"value"`` and such lists. The first member has it.
    shape: Any = None
    #: The id of the group whose end it summarizes.
    group: str | None = None

    @property
    def taken_as(self) -> Any:
        """How it takes results, None where it takes none."""
        return None if self.takes == "nothing" else self.takes

    @property
    def is_body(self) -> bool:
        """Whether it waits for all members of a group, as the body of a chord does."""
        return self.takes in ("list", "nothing") or isinstance(self.takes, list)


@dataclasses.dataclass(frozen=True, slots=True)
class RowOptions:
    """All of one row's options."""

    call: CallOptions = CallOptions()
    workflow: WorkflowOptions = WorkflowOptions()
    #: Why the job cannot run with them, or "".
    problem: str = ""

    def stored(self) -> dict[str, Any]:
        """Return the JSON object of the options that are set."""
        call = {name: getattr(self.call, name) for name in CALL_OPTIONS}
        workflow = {key: getattr(self.workflow, name) for name, key in _KEYS.items()}
        workflow["link_error"] = [list(pair) for pair in self.workflow.errbacks] or None
        return {
            **{name: value for name, value in call.items() if value is not None},
            **{key: value for key, value in workflow.items() if value not in (None, {})},
        }


#: Of a row without options.
NOTHING = RowOptions()

#: The names of the options that a call may have of its own.
CALL_OPTIONS = tuple(field.name for field in dataclasses.fields(CallOptions))
# The keys under which the column has the fields of a workflow.
_KEYS = {
    "errbacks": "link_error",
    "later": "later",
    "place": "for",
    "shape": "shape",
    "group": "group",
    "takes": "takes",
}


def parse(text: str | None) -> RowOptions:
    """Return the options of a row that has this JSON *text*; most rows have none."""
    if text is None:
        return NOTHING
    try:
        return read(loads(text), or_none=False)
    except (ValueError, RecursionError) as error:
        return RowOptions(problem=str(error))


def read(stored: Any, *, or_none: bool = True) -> RowOptions:
    """Return the options of a row whose column has this JSON value, or None for none."""
    if stored is None and or_none:
        return NOTHING
    if not isinstance(stored, dict):
        return RowOptions(
            problem=f"options must be a JSON object, the row has {json_type(stored)}."
        )
    problems = [
        f"{key} must be seconds, the row has {stored[key]!r:.100}."
        for key in ("time_limit", "soft_time_limit")
        if not isinstance(stored.get(key, 1.0), (int, float))
    ]
    problems += [
        f"{key} must be {what}, the row has {stored[key]!r:.100}."
        for key, kinds, what in (
            ("max_retries", int, "a whole number"),
            ("retry_backoff", (bool, int, float), "true, false or seconds"),
        )
        if not isinstance(stored.get(key, 1), kinds)
    ]
    takes = stored.get("takes")
    if not _is_form(takes):
        takes = None
        problems.append(
            f"The option takes must be one of {', '.join(TAKES)} or a list of 'value' and such "
            f"lists, the row has {stored['takes']!r:.100}."
        )
    workflow = _workflow(stored, takes)
    if problems:
        return RowOptions(workflow=workflow, problem=problems[-1])
    return RowOptions(CallOptions(*(stored.get(name) for name in CALL_OPTIONS)), workflow)


def taking_one_more(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object *stored* of a job that takes the result of one more job, in a list."""
    return {**stored, "takes": [*stored["takes"], "value"]}


def json_type(value: Any) -> str:
    """Return what a JSON value is, in words: the value itself may be secret."""
    for kind, told in ((dict, "an object"), (list, "an array"), (str, "a text")):
        if isinstance(value, kind):
            return told
    return "a number, a boolean or null"


def _workflow(stored: dict[str, Any], takes: Any) -> WorkflowOptions:
    later, errbacks = stored.get("later"), stored.get("link_error")
    place, group = stored.get("for"), stored.get("group")
    times = later.items() if isinstance(later, dict) else ()
    pairs = errbacks if isinstance(errbacks, list) else ()
    return WorkflowOptions(
        takes=takes,
        later={name: value for name, value in times if _is_time(value)},
        errbacks=tuple((pair[0], pair[1]) for pair in pairs if _is_errback(pair)),
        place=place if isinstance(place, str) else None,
        shape=stored.get("shape"),
        group=group if isinstance(group, str) else None,
    )


def _is_form(takes: Any) -> bool:
    if takes is None or takes in TAKES:
        return True
    left = [takes]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif each != "value":
            return False
    return True


def _is_time(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LONGEST_SECONDS  # type: ignore[arg-type]


def _is_errback(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return pair[1] is None or isinstance(pair[1], str)
