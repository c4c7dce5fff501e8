"""Asynchronous twins of methods."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
Owner = TypeVar("Owner")
Returned = TypeVar("Returned")


def twin(
    method: Callable[Concatenate[Owner, P], Returned],
) -> Callable[Concatenate[Owner, P], Coroutine[Any, Any, Returned]]:
    """Return the asynchronous twin of *method*, which runs it through ``sync_to_async``.

    The twin looks the method up by its name, so it also runs a subclass's version.
    """
    name = method.__name__

    @functools.wraps(method)
    async def call(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Returned:
        returned: Returned = await sync_to_async(getattr(self, name))(*args, **kwargs)
        return returned

    call.__name__ = f"a{name}"
    call.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.a{name}"
    call.__doc__ = f"Asynchronous twin of :meth:`{name}`."
    return call
