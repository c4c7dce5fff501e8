"""Whoever meets an error, a warning or a line of the log finds it in the documentation."""

from __future__ import annotations

import inspect
import re

import pytest

from django_jobs import exceptions
from docs import message_list
from tests.messages import all_messages
from tests.pages import DOCS, rows

pytestmark = pytest.mark.once

EVENT = re.compile(r"^   \* - ``([^`]+)``\n     - ``django_jobs\.\w+``: (.+)$", re.MULTILINE)


def warnings() -> set[str]:
    """The lines at WARNING and above; a test of the page "Logging" keeps its table complete."""
    listed = EVENT.findall((DOCS / "logging.rst").read_text())
    return {name for name, levels in listed if re.search("WARNING|ERROR|CRITICAL", levels)}


def classes() -> set[str]:
    return {
        name
        for name, each in vars(exceptions).items()
        if inspect.isclass(each) and each.__module__ == exceptions.__name__
    }


def test_page_has_every_warning_of_the_log_and_every_exception() -> None:
    assert len(warnings()) > 40
    assert set(rows("troubleshooting.rst")) == warnings() | classes()


def test_page_of_messages_has_every_message() -> None:
    page = "\n".join(message_list.lines())
    for path, line, text, _continued in all_messages("…"):
        shown = message_list.escaped(" ".join(text.split()))
        assert f"* {shown}\n" in page, f"{path}:{line}"
    assert r'Write {"shop.jobs.\*"\: {"queue"\: "shop", "priority"\: 5}}.' in page
    assert "{type_of" not in page


def test_parts_of_the_list_lead_to_pages() -> None:
    for _start, _title, page in message_list.PARTS:
        assert (DOCS / f"{page}.rst").is_file(), page
    assert message_list.part_of("define/canvas.py") == ("Workflows", "workflows")
