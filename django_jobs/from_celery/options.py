"""Options of Celery's ``@task`` and ``apply_async``, and what to use instead."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from ..exceptions import FromCelery
from .table import Rule, plain, rule

_PACKAGE = f"{__package__.partition('.')[0]}."
_SET_BY_ITSELF = "it is set by itself; leave it out"

#: What to use instead of each option, in reStructuredText that continues a sentence.
TABLE: tuple[Rule, ...] = (
    rule("routing_key exchange exchange_type", "use ``queue=``"),
    rule("serializer compression", "arguments are JSON; leave it out"),
    rule("retry retry_policy", "the job is a row of your database, and its INSERT needs no retry; "
        "leave it out"),
    rule("connection producer publisher", "there is no broker; leave it out"),
    rule("delivery_mode mandatory immediate", "a job is a committed row; leave it out"),
    rule("shadow task_name", "use ``name=`` of ``@job``"),
    rule("argsrepr kwargsrepr", "name what must not be shown in ``sensitive=`` of ``@job``"),
    rule("add_to_parent", "it is always in the parent's children; leave it out"),
    rule("root_id parent_id group_id", _SET_BY_ITSELF),
    rule("reply_to", "use ``link=``, or ``AsyncResult``"),
    rule("stamped_headers", "all headers are kept; use ``headers={...}``"),
    rule("throw", "``apply()`` raises nothing, and ``get()`` of its result raises the job's "
        "exception"),
    rule("retries", "a job begins with its first attempt; leave it out"),
    rule("retry_kwargs", "use ``max_retries=``, and for its countdown ``default_retry_delay=`` "
        "with ``retry_backoff=False``"),
    rule("reject_on_worker_lost retry_on_worker_lost", "it is the default; for at-most-once use "
        "``on_worker_lost='fail'``"),
    rule("track_started", "STARTED is always recorded; leave it out"),
    rule("acks_on_failure_or_timeout acks_on_failure acks_on_timeout",
        "a failure is final unless the job is retried; leave it out"),
    rule("store_eager_result", "an eager job has no row; leave it out"),
    rule("store_errors_even_if_ignored", "failures are always kept; leave it out"),
    rule("send_events", "the row shows everything; leave it out"),
    rule("trail", "children are always known; leave it out"),
    rule("run_every", "use ``schedule=``"),
    rule("abstract", "every base class is abstract here; leave it out"),
    rule("backend", "the job's row has its result; leave it out"),
    rule("resultrepr_maxsize", "the log has no results; leave it out"),
    rule("before_start on_success on_failure on_retry after_return",
        "put it on a subclass of ``JobContext``, and name that class in ``base=``"),
    rule("pydantic", "annotations convert models; leave it out"),
    rule("pydantic_strict", "set ``strict=True`` in the ``ConfigDict`` of the model"),
    rule("pydantic_context", "annotate a dict, and call ``Model.model_validate(argument, "
        "context=...)`` in the body"),
    rule("pydantic_dump_kwargs", "annotate a dict, and return ``model.model_dump(mode='json')`` "
        "from the body"),
    rule("once lock_expiry", "use ``unique=`` and ``unique_for=`` of ``@job``"),
    rule("unique_on", "use ``unique_key=`` of ``@job``"),
    rule("raise_on_duplicate", "use ``unique='raise'`` of ``@job``"),
)  # fmt: skip

#: By each option, the text without markup.
OPTIONS = {name: plain(each.text) for each in TABLE for name in each.names}

# Options of a call that change nothing here, whatever their value.
_NO_EFFECT = {"retry", "retry_policy", "compression", "delivery_mode", "mandatory"}
# Those that change nothing with these values only.
_NO_EFFECT_AS = {
    "serializer": (None, "json"),
    "connection": (None,),
    "producer": (None,),
    "publisher": (None,),
}


def without_effect(options: Mapping[str, Any]) -> set[str]:
    """Return the names of Celery's *options* that change nothing here; warn once of each."""
    found = {name for name in options if name in _NO_EFFECT or _is_default(name, options[name])}
    for name in sorted(found):
        warn_once(f"The option {name} of a call has no effect here: {OPTIONS[name]}.")
    return found


def _is_default(name: str, value: Any) -> bool:
    is_plain = value is None or isinstance(value, str)
    return is_plain and value in _NO_EFFECT_AS.get(name, ())


@functools.cache
def warn_once(text: str) -> None:
    """Warn with :class:`~django_jobs.exceptions.FromCelery`, once in each process.

    The warning names the line outside of this package that made the call.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, FromCelery, stacklevel=level)
