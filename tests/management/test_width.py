"""The width of texts in a terminal."""

from __future__ import annotations

import pytest

from django_jobs.management.width import cut, padded, width

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("job", 3), ("任务", 4), ("job 任务", 8), ("é", 1), ("e\u0301", 1), ("Ａ", 2)],
)
def test_width_counts_columns(text: str, columns: int) -> None:
    assert width(text) == columns


def test_padded_text_takes_the_columns() -> None:
    assert padded("任务", 6) == "任务  "
    assert padded("任务", 2) == "任务"


@pytest.mark.parametrize(("columns", "text"), [(8, "任务函数"), (5, "任务"), (4, "任务"), (1, "")])
def test_cut_text_takes_no_more_columns(columns: int, text: str) -> None:
    assert cut("任务函数", columns) == text
