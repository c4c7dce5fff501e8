"""DBOS: durable workflows of one step on a queue that it polls every 0.1 s."""

import functools
import os
import threading

from dbos import DBOS, DBOSClient

from .. import body
from . import DATABASE_URL


@DBOS.workflow(name="note")
def note(number: int) -> int:
    return body.note(number)


@functools.cache
def client() -> DBOSClient:
    return DBOSClient(system_database_url=DATABASE_URL)


def prepare() -> None:
    # With a name of its own, no process runs again what the other one runs.
    config = {"name": "benchmarks", "executor_id": str(os.getpid()), "log_level": "ERROR"}
    DBOS(config={**config, "system_database_url": DATABASE_URL})
    DBOS.launch()
    DBOS.register_queue("benchmarks", polling_interval_sec=0.1)


def send(number: int) -> None:
    client().enqueue({"queue_name": "benchmarks", "workflow_name": "note"}, number)


def work() -> None:
    prepare()
    threading.Event().wait()
