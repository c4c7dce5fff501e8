"""Job functions that workflows are made of."""

from __future__ import annotations

from typing import Any

from django_jobs import Ignore, Reject, job, signature


@job
def add(a: int, b: int = 0) -> int:
    return a + b


@job
def mul(a: int, b: int) -> int:
    return a * b


@job
def total(values: list[int], more: int = 0) -> int:
    return sum(values) + more


@job
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@job
def same(value: Any = None) -> Any:
    return value


@job(max_retries=0)
def fail(*args: Any, message: str = "broken") -> None:
    raise ValueError(message)


@job
def told(*args: Any) -> Any:
    return list(args)


@job
def ignore(*args: Any) -> None:
    raise Ignore


@job
def reject(*args: Any) -> None:
    raise Reject("no")


@job(bind=True)
def become(self: Any, *args: Any) -> None:
    """Go on as the signature that is the last argument."""
    self.replace(signature(args[-1]))


@job(bind=True)
def widen(self: Any, value: int, *signatures: Any) -> int:
    """Add members to the chord that this is in."""
    for each in signatures:
        self.add_to_chord(signature(each))
    return value
