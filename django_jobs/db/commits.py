"""Calls functions after a commit. Their errors cannot undo it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from django.db import transaction

P = ParamSpec("P")


def after_commit(
    using: str, action: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call *action* after the commit of the open transaction, or at once if none is open.

    An error of it is logged. The caller's work is committed by then.
    """

    # Django 5.2 names a hook that failed by its __qualname__, which partial() does not have.
    def hook() -> None:
        action(*args, **kwargs)

    transaction.on_commit(hook, using, robust=True)
