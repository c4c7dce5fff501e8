"""DBOS: durable workflows of three steps."""

from dbos import DBOS

from .. import body
from .dbos import client, prepare, work

__all__ = ["prepare", "send", "work"]


@DBOS.step()
def same(value: int) -> int:
    return body.same(value)


@DBOS.workflow(name="steps")
def steps(number: int) -> int:
    for each in range(3):
        same(each)
    return body.note(number)


def send(number: int) -> None:
    client().enqueue({"queue_name": "benchmarks", "workflow_name": "steps"}, number)
