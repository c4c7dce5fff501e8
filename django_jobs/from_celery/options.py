"""Options of Celery's ``@task`` and ``apply_async``, and what to use instead."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from ..exceptions import FromCelery

_PACKAGE = f"{__package__.partition('.')[0]}."
_NO_BROKER = "there is no broker; leave it out"
_NO_MESSAGE = "a job is a committed row; leave it out"
_SET_BY_ITSELF = "it is set by itself; leave it out"
_JSON = "arguments are JSON; leave it out"
_INSERT = "the job is a row of your database, and its INSERT needs no retry; leave it out"
_SENSITIVE = "name what must not be shown in sensitive= of @job"
_HOOK = "put it on a subclass of JobContext, and name that class in base="
_UNIQUE = "use unique= and unique_for= of @job"

#: Each option that an error explains, with what to use instead.
OPTIONS = {
    "retry_kwargs": "use max_retries=, and for its countdown default_retry_delay= with "
    "retry_backoff=False",
    "routing_key": "use queue=",
    "exchange": "use queue=",
    "exchange_type": "use queue=",
    "serializer": _JSON,
    "compression": _JSON,
    "retry": _INSERT,
    "retry_policy": _INSERT,
    "pydantic": "build the model in the body: Model.model_validate(argument)",
    "pydantic_strict": "build the model in the body: Model.model_validate(argument, strict=True)",
    "pydantic_context": "build the model in the body: Model.model_validate(argument, context=...)",
    "pydantic_dump_kwargs": "return model.model_dump(mode='json') from the body",
    "stamped_headers": "all headers are kept; use headers={...}",
    "reject_on_worker_lost": "it is the default; for at-most-once use on_worker_lost='fail'",
    "track_started": "STARTED is always recorded; leave it out",
    "shadow": "use name= of @job",
    "task_name": "use name= of @job",
    "connection": _NO_BROKER,
    "producer": _NO_BROKER,
    "publisher": _NO_BROKER,
    "delivery_mode": _NO_MESSAGE,
    "mandatory": _NO_MESSAGE,
    "immediate": _NO_MESSAGE,
    "argsrepr": _SENSITIVE,
    "kwargsrepr": _SENSITIVE,
    "add_to_parent": "it is always in the parent's children; leave it out",
    "root_id": _SET_BY_ITSELF,
    "parent_id": _SET_BY_ITSELF,
    "group_id": _SET_BY_ITSELF,
    "reply_to": "use link=, or AsyncResult",
    "acks_on_failure_or_timeout": "a failure is final unless the job is retried; leave it out",
    "store_errors_even_if_ignored": "failures are always kept; leave it out",
    "send_events": "the row shows everything; leave it out",
    "trail": "children are always known; leave it out",
    "throw": "apply() raises nothing, and get() of its result raises the job's exception",
    "retries": "a job begins with its first attempt; leave it out",
    "abstract": "every base class is abstract here; leave it out",
    "backend": "the job's row has its result; leave it out",
    "resultrepr_maxsize": "the log has no results; leave it out",
    "before_start": _HOOK,
    "on_success": _HOOK,
    "on_failure": _HOOK,
    "on_retry": _HOOK,
    "after_return": _HOOK,
    "once": _UNIQUE,
    "lock_expiry": _UNIQUE,
    "unique_on": "use unique_key= of @job",
    "raise_on_duplicate": "use unique='raise' of @job",
}

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
