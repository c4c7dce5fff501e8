"""Django-Q2 with its ORM broker: two processes, results kept."""

from django.core.management import call_command

from .. import body
from . import site

CLUSTER = {"name": "benchmarks", "workers": 2, "orm": "default", "timeout": 60, "retry": 120}
site.configure("django_q", Q_CLUSTER={**CLUSTER, "save_limit": 0, "log_level": "WARNING"})

from django_q.tasks import async_task  # noqa: E402 (needs the settings)

prepare = site.migrate


def send(number: int) -> None:
    async_task(body.note, number)


def work() -> None:
    call_command("qcluster")
