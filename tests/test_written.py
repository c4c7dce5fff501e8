"""Tests read the output of processes that still write."""

from __future__ import annotations

import os
import tempfile

import pytest

from tests.written import written

pytestmark = pytest.mark.once


def test_reading_leaves_the_place_at_which_a_process_writes() -> None:
    with tempfile.TemporaryFile("w+") as file:
        os.write(file.fileno(), b"one\ntwo\n")
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        assert written(file) == "one\ntwo\n"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
