"""Procrastinate: coroutines, twenty at a time; it keeps the rows of done jobs."""

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from .. import body
from . import DATABASE_URL

app = App(connector=SyncPsycopgConnector(conninfo=DATABASE_URL))


@app.task(name="note")
async def note(number: int) -> int:
    return body.note(number)


def prepare() -> None:
    with app.open():
        app.schema_manager.apply_schema()


def send(number: int) -> None:
    if not _open:
        _open.append(app.open())
    note.defer(number=number)


def send_many(numbers: list[int]) -> None:
    note.batch_defer(*({"number": number} for number in numbers))


def work() -> None:
    worker = app.with_connector(PsycopgConnector(conninfo=DATABASE_URL))
    with worker.open():
        worker.run_worker(concurrency=20)


_open: list[App] = []
