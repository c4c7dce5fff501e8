"""The flags of ``runworker``, and their defaults from the setting ``WORKER``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from ..conf import get_settings
from ..suggest import closest, did_you_mean
from .autoscale import Autoscale
from .flag_types import LEVELS, bounds, positive
from .options import POOLS, WorkerOptions, build, limit_refusals

#: The names of the setting's types in messages, by the type of the flag.
_NUMBERS: dict[Any, str] = {positive: "a whole number", float: "a number"}
_LISTS = ("QUEUES", "EXCLUDE_QUEUES")


def add_shared_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that the setting ``WORKER`` may name. None says that a flag was not given."""
    add = parser.add_argument
    add("-Q", "--queues", help=_("serve these queues (a,b,c); default: every queue"))
    add("-X", "--exclude-queues", help=_("serve every queue but these (a,b,c)"))
    add("-P", "--pool", type=_pool, metavar=f"{{{','.join(POOLS)}}}", help=_("default: prefork"))
    add("-c", "--concurrency", type=positive, metavar="N", help=_(
        "jobs at a time: processes (prefork; default: the CPUs), or threads (8), coroutines (100) "
        "or greenlets (100) of each process")
    )  # fmt: skip
    add("--connections", type=positive, metavar="N",
        help=_("jobs of a gevent process that use the database at a time (20)")
    )  # fmt: skip
    add("--processes", type=positive, metavar="N",
        help=_("worker processes (default: 1; prefork: the same as --concurrency)")
    )  # fmt: skip
    add("--autoscale", type=bounds, metavar="MAX,MIN[,S]",
        help=_("as many processes as there is work for; one idle for S seconds (30) stops")
    )  # fmt: skip
    add("--max-jobs-per-child", "--max-tasks-per-child", type=positive, metavar="N",
        help=_("replace a process after N jobs")
    )  # fmt: skip
    add("--max-memory-per-child", type=positive, metavar="KIB",
        help=_("replace a process that holds more resident memory, after its job")
    )  # fmt: skip
    add("--time-limit", type=float, metavar="S", help=_("hard limit of jobs that have none"))
    add("--soft-time-limit", type=float, metavar="S", help=_("soft limit of jobs that have none"))
    add("--redirect-stdout", type=str.upper, choices=LEVELS, metavar="LEVEL",
        help=_("log what jobs print, line by line at this level; default: stdout and stderr as "
        "they are")
    )  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``runworker``; the help tells the defaults of the setting."""
    before = len(parser._actions)
    add_shared_flags(parser)
    given = get_settings().worker
    for action in parser._actions[before:]:
        if given.get(action.dest.upper()) is not None:
            text = repr(given[action.dest.upper()]).replace("%", "%%")
            action.help = f"{action.help} [DJANGO_JOBS['WORKER']: {text}]"
    add = parser.add_argument
    add("-n", "--name", "--hostname", default="", help=_("name shown for its workers; %%h is the "
        "host's, %%n its first part, %%i the process's number; default: the host name")
    )  # fmt: skip
    add("-B", "--beat", action="store_true", help=_("fire schedules, too (as runbeat does)"))
    add("--burst", action="store_true", help=_("exit with 0 once the queues are empty"))
    add("--reload", action="store_true", help=_("for development: start over when code changes"))


def options_of(given: Mapping[str, Any], **others: Any) -> WorkerOptions:
    """Return the options of the flags' values; raise ``ValueError`` where they contradict."""
    return build(
        pool=given["pool"] or "prefork",
        processes=given["processes"],
        concurrency=given["concurrency"],
        connections=given["connections"],
        autoscale=Autoscale(**given["autoscale"]) if given["autoscale"] else None,
        queues=_names(given["queues"]),
        exclude_queues=_names(given["exclude_queues"]),
        max_jobs=given["max_jobs_per_child"],
        max_memory=given["max_memory_per_child"],
        time_limit=given["time_limit"],
        soft_time_limit=given["soft_time_limit"],
        redirect_stdout=given["redirect_stdout"],
        **others,
    )


# --- the setting --------------------------------------------------------------------------------


def with_defaults(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return *given* with the setting's values for flags that are absent, and these keys.

    A flag also replaces the keys that would contradict it. Raises ``ValueError`` for a wrong key
    or value.
    """
    values = {}
    for key, value in get_settings().worker.items():
        if problem := _problem(key, value):
            raise ValueError(problem)
        values[key.lower()] = _parsed(key, value)
    replaced = {name for name in values if given[name] is not None} | set(_replaced(given, values))
    used = {name: value for name, value in values.items() if name not in replaced}
    used = {name: value for name, value in used.items() if value is not None}
    return {**given, **used}, [name.upper() for name in used]


def _replaced(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """Return the flags whose defaults would contradict a flag that was given."""
    numbers = {"processes", "concurrency", "autoscale"}
    default_pool = defaults.get("pool") or "prefork"
    pool = given["pool"] or default_pool
    if pool != default_pool:
        yield from numbers | {"connections"}
    alike = numbers if pool == "prefork" else {"processes", "autoscale"}
    if any(given[name] is not None for name in alike):
        yield from alike
    if given["queues"] is not None:
        yield "exclude_queues"
    if given.get("burst"):
        yield "autoscale"


def setting_problems() -> list[str]:
    """Return what is wrong with the setting ``WORKER``."""
    setting = get_settings().worker
    found = [problem for key, value in setting.items() if (problem := _problem(key, value))]
    if setting and not found:
        values = {name.lower(): None for name in _actions()}
        values |= {key.lower(): _parsed(key, value) for key, value in setting.items()}
        try:
            refused = list(limit_refusals(options_of(values)))
        except ValueError as error:
            refused = [str(error)]
        found += [f"DJANGO_JOBS['WORKER']: {text}" for text in refused]
    return found


def _problem(key: Any, value: Any) -> str:
    """Say what is wrong with one key of the setting; empty when nothing is."""
    actions, where = _actions(), f"DJANGO_JOBS['WORKER'][{key!r}]"
    if key not in actions:
        hint = did_you_mean(key, actions, 1)
        return f"{where} is an unknown key.{hint} Allowed: {', '.join(actions)}."
    if value is None:
        return ""
    wanted = _NUMBERS.get(actions[key].type)
    if wanted and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"{where} must be {wanted}, got {value!r}."
    is_list = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    if not wanted and not isinstance(value, str) and not (key in _LISTS and is_list):
        kind = "a list of names" if key in _LISTS else "a text in quotes"
        return f"{where} must be {kind}, got {value!r}."
    try:
        _parsed(key, value)
    except ValueError as error:
        return f"{where}: {error}"
    return ""


def _parsed(key: str, value: Any) -> Any:
    """Return the value as the flag of that name takes it; raise ``ValueError`` as the flag does."""
    if value is None:
        return None
    text = ",".join(value) if isinstance(value, list | tuple) else str(value)
    flag = f"--{key.lower().replace('_', '-')}={text}"
    try:
        return getattr(_parser().parse_args([flag]), key.lower())
    except argparse.ArgumentError as error:
        raise ValueError(error.message) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_shared_flags(parser)
    return parser


def _actions() -> dict[str, argparse.Action]:
    return {action.dest.upper(): action for action in _parser()._actions}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _pool(text: str) -> str:
    if text in POOLS:
        return text
    hint = ""
    if text == "eventlet":
        hint = " Use gevent, which does the same, or asyncio for async def jobs."
    elif meant := closest({"processes": "prefork", "fork": "prefork"}.get(text, text), POOLS, 1):
        hint = f" Did you mean {meant[0]}?"
    raise argparse.ArgumentTypeError(f"there is no pool {text!r}, but {', '.join(POOLS)}.{hint}")
