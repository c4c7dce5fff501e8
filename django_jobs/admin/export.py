"""The jobs that match the filters of the list as a file, of any size in the memory of one page."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from ..display.job_text import message_text
from ..display.json_rows import listed
from ..models import Job

#: The formats, which are the values of the parameter ``export``, and their content types.
FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# Rows that one statement reads.
_CHUNK = 500
_COLUMNS = (
    "id", "name", "status", "queue", "priority", "attempt", "retries", "crashes", "worker_id",
    "enqueued_at", "run_at", "ready_at", "started_at", "ended_at", "expires_at", "args", "kwargs",
    "error_class", "error_message",
)  # fmt: skip
# A spreadsheet evaluates a text that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def exported(jobs: QuerySet[Any], kind: str) -> StreamingHttpResponse:
    """Return *jobs* as a file of that kind, the newest first, without secrets.

    The rows are those of ``with_argument_texts()``: longer arguments are null.
    """
    write = _csv if kind == "csv" else _json
    return StreamingHttpResponse(
        write(_rows(jobs)),
        content_type=FORMATS[kind],
        headers={"Content-Disposition": f'attachment; filename="jobs.{kind}"'},
    )


def _rows(jobs: QuerySet[Any]) -> Iterator[dict[str, Any]]:
    # Pages by id: some drivers read the rows of a whole cursor into memory.
    newest, last = jobs.order_by("-pk"), None
    while True:
        chunk: list[Job] = list((newest if last is None else newest.filter(pk__lt=last))[:_CHUNK])
        for job in chunk:
            row = listed(job)
            row["error_message"] = message_text(job)
            yield {name: row[name] for name in _COLUMNS}
        if len(chunk) < _CHUNK:
            return
        last = chunk[-1].pk


def _json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(_COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value.isoformat() if hasattr(value, "isoformat") else value


class _Echo:
    """A file whose write() returns the text, so that the response sends each row at once."""

    def write(self, text: str) -> str:
        return text
