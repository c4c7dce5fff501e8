"""django-qraft, which extends Django-Q2: two processes, results and attempts kept."""

from django.core.management import call_command

from . import site

CLUSTER = {"name": "default", "workers": 2, "orm": "default", "timeout": 60, "retry": 90}
BROKER = {"broker_class": "qraft.brokers.QraftOrmBroker", "log_level": "WARNING"}
site.configure("django_q", "qraft", Q_CLUSTER=CLUSTER | BROKER, QRAFT_CLUSTER={"threads": 1})

from qraft.tasks import async_task  # noqa: E402 (needs the settings)

prepare = site.migrate


def send(number: int) -> None:
    async_task("benchmarks.body.note", number)


def work() -> None:
    call_command("qraftcluster")
