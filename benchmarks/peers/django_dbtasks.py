"""django-dbtasks, a backend of django.tasks: two runners with four threads, results kept."""

import os

from django.core.management import call_command
from django.tasks import task

from .. import body
from . import site

site.configure("dbtasks", TASKS={"default": {"BACKEND": "dbtasks.backend.DatabaseBackend"}})
prepare = site.migrate


@task
def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    note.enqueue(number)


def work() -> None:
    call_command("taskrunner", workers=4, worker_id=str(os.getpid()))
