"""django-tasks-db, the database backend of django.tasks: two workers, results kept."""

from django.core.management import call_command
from django.tasks import task

from .. import body
from . import site

BACKEND = "django_tasks_db.DatabaseBackend"
site.configure("django_tasks_db", TASKS={"default": {"BACKEND": BACKEND}})
prepare = site.migrate


@task
def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    note.enqueue(number)


def work() -> None:
    call_command("db_worker", verbosity=0)
