"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping
from typing import Any, NoReturn

from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..log import FORMATS
from ..suggest import did_you_mean
from ..worker.flag_types import LEVELS

_LONGEST_NAME = 190
# The message with which argparse refuses a verb.
_INVALID = re.compile(r"invalid choice: '(.+?)' \(choose from")


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the long-running commands."""
    parser.add_argument(
        "-l",
        "--loglevel",
        type=str.upper,
        choices=LEVELS,
        help=_("default: INFO, or the level of LOGGING"),
    )
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        help=_("lines of the log on stderr; default: text. Refused if LOGGING has them"),
    )
    parser.add_argument("--database", help=_("alias; default: DJANGO_JOBS['DATABASE']"))
    parser.add_argument("--pidfile", help=_("file for the process id while it runs"))
    parser.add_argument(
        "--heartbeat-file",
        metavar="PATH",
        help=_("empty file that is touched every 5 s while all parts of the process live"),
    )


def refuse_without_fork() -> None:
    """Raise ``CommandError`` on a system without forks."""
    if not hasattr(os, "fork"):
        raise CommandError(
            "A worker needs a system that can fork, such as Linux or macOS. Windows cannot, so no "
            "pool works there, solo neither. Run the worker in WSL or in a container."
        )


def database(given: Mapping[str, Any]) -> str:
    """Return the alias of ``--database`` or of the setting; refuse an unknown one."""
    using: str = given["database"] or get_settings().database
    if using not in connections:
        raise CommandError(
            f"--database {using!r} is not in DATABASES; it has {', '.join(connections)}."
            f"{did_you_mean(using, connections)}"
        )
    return using


def database_name(using: str) -> str:
    """Return the alias and the kind of its database, as text.

    Only the server knows whether it is MySQL or MariaDB, and it may not answer yet.
    """
    connection = connections[using]
    try:
        return f"{using} ({connection.display_name})"
    except DatabaseError:
        return _("%(alias)s (%(kind)s, which does not answer yet)") % {
            "alias": using,
            "kind": connection.vendor,
        }


def process_name(given: Mapping[str, Any]) -> str:
    """Return ``--name`` with Celery's ``%h`` (host), ``%n`` (its first part) and ``%d`` (the rest)
    replaced; refuse a name that is too long for a row with a number at its end."""
    host = socket.gethostname()
    first, _dot, rest = host.partition(".")
    name: str = given["name"]
    for mark, text in (("%h", host), ("%n", first), ("%d", rest)):
        name = name.replace(mark, text)
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise CommandError(
            f"--name must be a printable text of at most {_LONGEST_NAME} characters, "
            f"got {len(name)}: {name!r:.80}."
        )
    return name


def add_verbs(
    parser: argparse.ArgumentParser, dest: str, metavar: str, *, required: bool = True
) -> Any:
    """Return the action that takes the parsers of verbs. It suggests a verb for a mistyped one."""
    verbs = parser.add_subparsers(dest=dest, metavar=metavar, required=required)
    refuse = parser.error

    def error(message: str) -> NoReturn:
        wrong = _INVALID.search(message)
        hint = did_you_mean(wrong[1], verbs.choices) if wrong else ""
        refuse(f"{message}.{hint}" if hint else message)

    vars(parser)["error"] = error
    return verbs


def add_verb(verbs: Any, name: str, text: str, *wanted: str) -> argparse.ArgumentParser:
    """Add a verb of ``manage.py jobs``; *wanted* names the options that its function takes."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=_(text), description=_(text))
    parser.set_defaults(wanted=wanted)
    parser.add_argument("--json", action="store_true", dest="as_json", help=_("print JSON"))
    if name != "run":
        parser.add_argument(
            "--database", choices=list(connections), help=_("alias of the jobs' database")
        )
    return parser


class Refused(argparse.Action):
    """Refuses an argument of Celery's and says what to do instead."""

    def __init__(self, instead: str, **others: Any) -> None:
        self.instead = instead
        super().__init__(help=argparse.SUPPRESS, nargs="?", **others)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"{option_string} is Celery's: {self.instead}")
