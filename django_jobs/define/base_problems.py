"""Checks the class of ``base=``: what it sets and defines must have an effect."""

from __future__ import annotations

from collections.abc import Collection

from ..from_celery.options import OPTIONS
from .context import JobContext

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")
_HAS = f"a base has the hooks {', '.join(_HOOKS[:-1])} and {_HOOKS[-1]}, and __call__"
# The job function has these.
_CALLS = {"apply_async", "delay", "apply", "run"}
# Celery calls these methods of a task.
_OF_CELERY = {
    "add_trail", "annotate", "bind", "from_config", "on_bound", "on_replace", "send_event",
    "shadow_name", "signature_from_request", "start_strategy", "subtask_from_request",
}  # fmt: skip
# A mixin may have attributes with these names for a purpose of its own.
_COMMON = {
    "atomic", "backend", "base", "bind", "concurrency", "connection", "exchange", "expires",
    "immediate", "name", "once", "priority", "producer", "publisher", "queue", "retries",
    "schedule", "send_events", "sensitive", "serializer", "shadow", "throw", "trail", "typing",
    "unique", "annotate",
}  # fmt: skip


def base_problems(base: object, options: Collection[str]) -> list[str]:
    """Return what is wrong with a base class; *options* are the names of the options of ``@job``.

    A mixin counts, too: while a project moves from Celery, a task and a job can share it.
    """
    if not (isinstance(base, type) and issubclass(base, JobContext)):
        return [f"base must be a subclass of JobContext, got {base!r}.{_hint(base)}"]
    own = {
        name
        for each in base.__mro__
        if each not in (object, JobContext)
        for name in vars(each)
        if issubclass(each, JobContext) or name not in _COMMON
    }
    found = [
        f"base {base.__qualname__} sets {name}: options belong to @job; {_HAS}."
        for name in sorted(own & {*options, "retry_kwargs"})
    ]
    found += [
        f"base {base.__qualname__} defines {name}(), which is never called: the job function has "
        "it. Put what each call needs into a function of your own that calls it."
        for name in sorted(own & _CALLS)
    ]
    found += [
        f"base {base.__qualname__} sets {name}, which is Celery's: {OPTIONS[name]}."
        for name in sorted(own & (OPTIONS.keys() - {"retry_kwargs", *_HOOKS}))
    ]
    found += [
        f"base {base.__qualname__} defines {name}(), which Celery calls and django_jobs does not: "
        f"{_HAS}."
        for name in sorted((own & _OF_CELERY) - {*options})
    ]
    return found


def _hint(base: object) -> str:
    classes = base.__mro__ if isinstance(base, type) else ()
    if any(each.__module__.partition(".")[0] == "celery" for each in classes):
        return " It is a task of Celery's: write a class of JobContext with the same hooks."
    return ""
