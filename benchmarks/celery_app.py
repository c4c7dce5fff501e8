"""The same bodies as Celery tasks: Redis is broker and result backend, all else is default."""

import os

from celery import Celery

from . import body

app = Celery("benchmarks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])

note = app.task(name="note")(body.note)
sleep = app.task(name="sleep")(body.sleep)
use_orm = app.task(name="use_orm")(body.use_orm)
same = app.task(name="same")(body.same)
count = app.task(name="count")(body.count)


@app.task(name="fan_out")
def fan_out(number: int, count: int) -> int:
    body.note(number)
    for child in range(count):
        note.delay(child)
    return count
