"""``manage.py jobs``: show and change jobs, queues and workers from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...conf import DAY, get_settings
from ...status import Status
from ...worker.flag_types import positive, seconds
from ..arguments import add_verb, add_verbs
from ..base import OfflineCommand
from ..ending import is_program
from ..jobs import (
    action_parsers,
    actions,
    control,
    doctor_celery,
    editing,
    enqueuing,
    event_sending,
    failures,
    health,
    inspecting,
    listing,
    marking,
    reencrypting,
    schedules,
    stacks,
    tokens,
    top,
    worker_parsers,
    workflow,
)
from ..jobs.action_parsers import add_dry_run
from ..jobs.job_filters import FILTERS, add_filters
from ..jobs.output import STYLE
from ..jobs.warn import warnings
from ..mcp import command as mcp
from . import runbeat, runworker


class Command(OfflineCommand):
    help = gettext_noop("Shows and changes jobs, queues, schedules and workers.")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        self._parser = parser
        verbs = add_verbs(parser, "verb", "VERB", required=False)
        for add in (
            _list, _show, _workflow, *action_parsers.PARSERS, _stats, _health, _run,
            _schedules, _import, _doctor_celery, _reencrypt, _send_event,
        ):  # fmt: skip
            add(verbs)
        failures.add_failures(verbs)
        editing.add_edit(verbs)
        stacks.add_stack(verbs)
        worker_parsers.add_control(verbs)
        worker_parsers.add_inspect(verbs)
        worker_parsers.add_pause_and_resume(verbs)
        worker_parsers.add_limit(verbs)
        worker_parsers.add_top(verbs)
        tokens.add(verbs)
        marking.add(verbs)
        # For projects with another app's command of the same name: Channels has a runworker.
        for name, command in _PROCESSES.items():
            command().add_arguments(verbs.add_parser(name, help=_(command.help)))

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        if verb is None:
            self.stdout.write(self._parser.format_help())
            return
        if verb in _PROCESSES:
            command = _PROCESSES[verb]()
            command.stdout = self.stdout
            vars(command)["_called_from_command_line"] = is_program(self)
            command.handle(*args, **options)
            return
        if options["force_color"] or (self.stdout.isatty() and not options["no_color"]):
            setattr(self.stdout, STYLE, self.style)
        wanted = options["wanted"]
        given = {name: options[name] for name in wanted}
        given["as_json"] = options["as_json"]
        if verb != "run":  # the queue decides the database
            default = "" if verb in _AT_QUEUES else get_settings().database
            given["using"] = options["database"] or default
        if verb in ("delete", "purge"):
            given["confirm"] = self._confirm if options["interactive"] else None
        if verb == "health":  # it also works while the database is away
            given["warn"] = self.stderr.write
        for warning in () if verb == "health" else warnings(verb, given):
            self.stderr.write(f"warning: {warning}")
        if _VERBS[verb](self.stdout, **given):
            sys.exit(1)

    def _confirm(self, question: str) -> bool:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


_PROCESSES: dict[str, type[OfflineCommand]] = {
    "worker": runworker.Command,
    "beat": runbeat.Command,
    "mcp": mcp.Command,
}

# They use the database of the queue; without a queue, health and reencrypt look at all.
_AT_QUEUES = {"reencrypt", "pause", "resume", "limit", "purge", "health"}

# One that returns true makes the command end with code 1.
_VERBS: dict[str, Callable[..., bool | None]] = {
    "list": listing.list_jobs,
    "show": listing.show_job,
    "workflow": workflow.show_workflow,
    "stats": listing.show_stats,
    "failures": failures.show_failures,
    "health": health.show,
    "retry": actions.retry,
    "revoke": actions.revoke,
    "move": actions.move,
    "delete": actions.delete,
    "purge": actions.purge,
    "run": enqueuing.run,
    "edit": editing.edit_job,
    "stack": stacks.show_stack,
    "control": control.control,
    "inspect": inspecting.inspect,
    "pause": control.pause,
    "resume": control.resume,
    "limit": control.limit,
    "top": top.show,
    "schedules": schedules.list_schedules,
    "import-celery-beat": schedules.import_celery_beat,
    "doctor-celery": doctor_celery.doctor_celery,
    "reencrypt": reencrypting.show_reencryption,
    "send-event": event_sending.send_event,
    "token": tokens.token,
    "mark": marking.make_mark,
}


def _list(verbs: Any) -> None:
    parser = add_verb(
        verbs, "list", gettext_noop("List the newest jobs."), "status", "limit", *FILTERS
    )
    add_filters(parser, Status)
    parser.add_argument("--limit", type=positive, default=20, help=_("maximum number of jobs (20)"))


def _show(verbs: Any) -> None:
    parser = add_verb(verbs, "show", gettext_noop("Show one job with its attempts."), "job_id",
                      "with_log")  # fmt: skip
    parser.add_argument("job_id", metavar="ID")
    parser.add_argument(
        "--log", action="store_true", dest="with_log", help=_("also the lines that keep_log kept")
    )


def _workflow(verbs: Any) -> None:
    text = gettext_noop("Show the jobs of one job's workflow, with their statuses.")
    add_verb(verbs, "workflow", text, "job_id").add_argument("job_id", metavar="ID")


def _stats(verbs: Any) -> None:
    add_verb(
        verbs, "stats", gettext_noop("Count jobs per status and queue, and list the live workers.")
    )


def _health(verbs: Any) -> None:
    text = gettext_noop("Tell whether jobs are run; the exit code is 1 if not.")
    parser = add_verb(verbs, "health", text, "queue", "max_age")
    parser.add_argument("--queue", help=_("only the workers and the jobs of this queue"))
    parser.add_argument(
        "--max-age", type=seconds, metavar="S",
        help=_("longest wait of a ready job (default: that of its queue, or 300)"),
    )  # fmt: skip


def _run(verbs: Any) -> None:
    text = gettext_noop("Enqueue one call of a job function.")
    parser = add_verb(
        verbs, "run", text, "name", "arguments", "keywords", "queue", "wait", "timeout"
    )
    parser.add_argument("name", help=_("name of a registered job function"))
    # Django reserves "args" in a command's options.
    parser.add_argument(
        "--args", dest="arguments", default="[]", metavar="JSON", help=_("arguments, a JSON array")
    )
    parser.add_argument(
        "--kwargs",
        dest="keywords",
        default="{}",
        metavar="JSON",
        help=_("keyword arguments, a JSON object"),
    )
    parser.add_argument("--queue")
    parser.add_argument(
        "--wait", action="store_true", help=_("wait for the end and print the result")
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help=_("maximum seconds to wait")
    )


def _schedules(verbs: Any) -> None:
    add_verb(verbs, "schedules", gettext_noop("List the schedules with their next and last runs."))


def _import(verbs: Any) -> None:
    text = gettext_noop("Copy the periodic tasks of django-celery-beat, which must be installed.")
    parser = add_verb(verbs, "import-celery-beat", text, "dry_run")
    add_dry_run(parser)


def _reencrypt(verbs: Any) -> None:
    text = gettext_noop("Encrypt all encrypted values of jobs with the first of ENCRYPTION_KEYS.")
    add_verb(verbs, "reencrypt", text)


def _send_event(verbs: Any) -> None:
    text = gettext_noop("Send an event to the job that waits for it.")
    parser = add_verb(verbs, "send-event", text, "event", "payload", "keep", "broadcast")
    parser.add_argument("event", metavar="NAME", help=_("name of the event"))
    parser.add_argument(
        "--payload", default="null", metavar="JSON", help=_("what the job gets (null)")
    )
    parser.add_argument(
        "--keep", type=seconds, default=float(DAY), metavar="S",
        help=_("seconds that it is kept for jobs that wait later (a day)"),
    )  # fmt: skip
    parser.add_argument("--broadcast", action="store_true", help=_("to all jobs that wait for it"))


def _doctor_celery(verbs: Any) -> None:
    text = gettext_noop("List what the project has of Celery's, and what to do with it.")
    parser = add_verb(verbs, "doctor-celery", text, "folders")
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help=_("folders with source; default: BASE_DIR")
    )
