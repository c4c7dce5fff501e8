"""The package's own job functions, which workflows and the admin use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError

from .api.batch import BatchFunction
from .api.decorator import job
from .define import registry
from .define.context import JobContext
from .define.conversion import encoded_result
from .define.option_problems import MAX_PRIORITY


@job(name="django_jobs.accumulate")
def accumulate(value: Any = None) -> Any:
    """Return what the job takes: a group's results, or a summary of its members' ends."""
    return value


@job(name="django_jobs.map")
def map_(name: str, items: Sequence[Any]) -> list[Any]:
    """Call the job function of that *name* with each of *items*, one after the other."""
    return starmap(name, [[item] for item in items])


@job(name="django_jobs.starmap")
def starmap(name: str, items: Sequence[Sequence[Any]]) -> list[Any]:
    """Call the job function of that *name* with the arguments in each of *items*."""
    function = registry.get(name)
    if isinstance(function, BatchFunction):
        function.starmap(items)
    call: Any = async_to_sync(function.__call__) if function.is_async else function
    if function.argument_types is not None:
        items = [function.argument_types.decode(item, {})[0] for item in items]
    found = [call(*item) for item in items]
    if function.result_type is not None:
        return [encoded_result(function.result_type, each) for each in found]
    return found


# JOB_OPTIONS of the project may not cut it short, or let several users' changes count as one job.
@job(
    name=registry.CHANGE_JOBS, bind=True, priority=MAX_PRIORITY, max_retries=5,
    autoretry_for=(DatabaseError, InterfaceError), throws=(PermissionDenied,), time_limit=None,
    soft_time_limit=None, unique=False, atomic=False, encrypt=False, ignore_result=False,
)  # fmt: skip
def change_jobs(self: JobContext, operation: str, number: int) -> dict[str, Any]:
    """Do to many jobs what a user confirmed in the admin; only the admin enqueues it."""
    from .admin.background import run

    return run(self)
