"""Overrides keys of ``DJANGO_JOBS`` and keeps the rest of the dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.test import override_settings

from ..conf import SETTING, problems


class override_jobs(override_settings):
    """Override keys of ``DJANGO_JOBS``, as ``override_jobs(EAGER=True)``; the others stay.

    A context manager, and a decorator of functions, coroutine functions and of test case classes,
    as Django's ``override_settings``. Raises ``ValueError`` for an unknown key and for a value of
    the wrong type, with the text of the system check.
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__()
        for problem in problems(keys):
            raise ValueError(" ".join(problem))
        self._keys = keys

    def enable(self) -> None:
        self.options = {SETTING: self._merged(getattr(settings, SETTING, None))}
        super().enable()

    def save_options(self, test_func: Any) -> None:
        # Of a class: Django enables its options in setUpClass(). They may be of several decorators.
        overridden = test_func._overridden_settings or {}
        given = overridden.get(SETTING, getattr(settings, SETTING, None))
        test_func._overridden_settings = {**overridden, SETTING: self._merged(given)}

    def _merged(self, given: object) -> dict[str, Any]:
        return {**(given if isinstance(given, Mapping) else {}), **self._keys}
