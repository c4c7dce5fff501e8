"""dj-queue, a backend of django.tasks with LISTEN and NOTIFY: two runtimes, results kept."""

from django.core.management import call_command
from django.tasks import task

from .. import body
from . import site

TASKS = {"default": {"BACKEND": "dj_queue.backend.DjQueueBackend", "QUEUES": []}}
site.configure("dj_queue", TASKS=TASKS, DATABASE_ROUTERS=["dj_queue.routers.DjQueueRouter"])
prepare = site.migrate


@task
def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    note.enqueue(number)


def work() -> None:
    call_command("dj_queue")
