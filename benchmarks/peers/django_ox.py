"""django-ox, a backend of django.tasks: two workers, results kept."""

from django.core.management import call_command
from django.tasks import task

from .. import body
from . import site

site.configure("django_ox", TASKS={"default": {"BACKEND": "django_ox.backend.OxBackend"}})
prepare = site.migrate


@task
def note(number: int) -> int:
    return body.note(number)


def send(number: int) -> None:
    note.enqueue(number)


def work() -> None:
    call_command("ox_worker")
