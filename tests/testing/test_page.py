"""The test cases of ``docs/testing.rst`` pass."""

from __future__ import annotations

import sys
import unittest
from typing import Any

import pytest
from django.test import TransactionTestCase

from tests.pages import DOCS, blocks
from tests.test_docs import Page


@pytest.mark.usefixtures("registered", "transactional_db")
def test_test_cases_of_the_page_pass(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DOCS / "testing.rst"
    page = Page(path, settings, monkeypatch, work=None)  # type: ignore[arg-type]
    for block in blocks(path):
        if block.kind == "python" and "# settings.py" not in block.text:
            page.run(block)
    settings.ROOT_URLCONF = "library.urls"
    cases = [
        kind
        for name, kind in vars(page.module).items()
        if name.endswith("Test") and issubclass(kind, TransactionTestCase)
    ]
    assert len(cases) == 5
    # The solo pool refuses job functions of the test project that have time limits.
    cases.remove(page.module.CloseAccountWithoutKitTest)
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    assert (result.testsRun, result.failures, result.errors) == (4, [], [])
