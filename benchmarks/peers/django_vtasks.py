"""django-vtasks on PostgreSQL: coroutines in two workers, results kept."""

from django.core.management import call_command

from .. import body
from . import site

BACKEND = "django_vtasks.backends.db.DatabaseTaskBackend"
site.configure("django_vtasks", "django_vtasks.db", TASKS={"default": {"BACKEND": BACKEND}})

from django_vtasks import task  # noqa: E402 (needs the settings)

prepare = site.migrate


@task
def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    note.enqueue(number)


def work() -> None:
    call_command("runworker")
