"""The parsers of the verbs that change jobs, by id or all that match."""

from __future__ import annotations

import argparse
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...status import ENDED, QUEUED
from ..arguments import add_verb
from .job_filters import FILTERS, add_filters


def _retry(verbs: Any) -> None:
    text = gettext_noop("Retry ended jobs, by id or all that match.")
    parser = add_verb(
        verbs, "retry", text, "ids", "status", "from_step", "from_start", "dry_run", *FILTERS
    )
    parser.add_argument("ids", nargs="*", metavar="ID")
    add_filters(parser, sorted(ENDED))
    add_dry_run(parser)
    parser.add_argument(
        "--from-step", metavar="KEY",
        help=_("forget this step and later ones (default: go on from the step that failed)"),
    )  # fmt: skip
    parser.add_argument("--from-start", action="store_true", help=_("forget all steps"))


def _revoke(verbs: Any) -> None:
    text = gettext_noop("Revoke jobs that have not started, by id or all that match.")
    parser = add_verb(verbs, "revoke", text, "ids", "header", "terminate", "dry_run",
                      *FILTERS)  # fmt: skip
    parser.add_argument("ids", nargs="*", metavar="ID")
    add_filters(parser)
    add_dry_run(parser)
    parser.add_argument("--header", metavar="NAME=VALUE", help=_("only jobs with this header"))
    parser.add_argument("--terminate", action="store_true", help=_("stop running jobs, too"))


def _move(verbs: Any) -> None:
    text = gettext_noop(
        "Move jobs that have not started to another queue or priority, by id or all that match."
    )
    parser = add_verb(verbs, "move", text, "ids", "to", "priority", "status", "dry_run",
                      *FILTERS)  # fmt: skip
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--to", metavar="QUEUE", help=_("the new queue"))
    parser.add_argument("--priority", type=int, metavar="N", help=_("the new priority"))
    add_filters(parser, QUEUED)
    add_dry_run(parser)


def _delete(verbs: Any) -> None:
    text = gettext_noop("Delete ended jobs, by id or all that match.")
    parser = add_verb(verbs, "delete", text, "ids", "status", "dry_run", *FILTERS)
    parser.add_argument("ids", nargs="*", metavar="ID")
    add_filters(parser, sorted(ENDED))
    add_dry_run(parser)
    _add_noinput(parser)


def _purge(verbs: Any) -> None:
    parser = add_verb(verbs, "purge", gettext_noop("Delete the pending jobs of a queue."), "queue",
                      "dry_run")  # fmt: skip
    parser.add_argument("--queue", required=True)
    add_dry_run(parser)
    _add_noinput(parser)


def _add_noinput(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--noinput", "--no-input", "--yes", action="store_false", dest="interactive",
        help=_("do not ask for confirmation"),
    )  # fmt: skip


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help=_("only print what would be done"))


PARSERS = (_retry, _revoke, _move, _delete, _purge)
