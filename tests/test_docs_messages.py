"""The documentation has each message of the package."""

from __future__ import annotations

import pytest

from docs import message_list
from tests.messages import all_messages
from tests.pages import DOCS

pytestmark = pytest.mark.once


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
