"""Job functions that workflows are made of."""

from __future__ import annotations

import json
import zlib
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
def count(values: list[Any]) -> int:
    return len(values)


@job
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@job
def first_of(values: list[Any]) -> Any:
    return values[0]


@job
def same(value: Any = None) -> Any:
    return value


@job(max_retries=0)
def fail(*args: Any, message: str = "broken") -> None:
    raise ValueError(message)


@job
def received(*args: Any) -> Any:
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


#: What :func:`hear` was called with, in this process.
heard: list[list[Any]] = []


@job
def hear(*args: Any) -> None:
    heard.append(list(args))


#: What :func:`node` was called with, in this process.
calls: list[str] = []


@job(max_retries=0)
def node(*args: Any) -> int:
    """Result in a number that its arguments make; the last one is its name, or its failure's."""
    name = args[-1]
    calls.append(name)
    if name.startswith("fail"):
        raise ValueError(name)
    return zlib.crc32(json.dumps(args).encode())


@job(bind=True, max_retries=2, default_retry_delay=0)
def flaky(self: Any, value: int = 0) -> int:
    """Succeed at the third attempt."""
    if self.request.retries < 2:
        self.retry(countdown=0)
    return value + 1


@job(bind=True)
def patient(self: Any, name: str) -> Any:
    """Wait for an event, for a minute at most."""
    return self.wait_for_event(name, timeout=60)


@job(bind=True)
def employer(self: Any, queue: str) -> Any:
    """Run another job in *queue*, and return its result."""
    return self.run(add.s(1).set(queue=queue))


@job(bind=True)
def spawn(self: Any, value: int) -> list[str]:
    """Start a workflow from inside; result in the ids of what this knows to have started."""
    (add.s(value) | add.s(1)).apply_async()
    add.delay(1)
    return [str(child.id) for child in self.request.children]


@job(unique=True)
def only_one(value: int = 0) -> int:
    return value


@job(ignore_result=True)
def unkept(value: int) -> int:
    return value


@job(throws=(KeyError,), max_retries=0)
def expected(*args: Any) -> None:
    raise KeyError("expected")


@job(atomic=True)
def atomic(value: int) -> int:
    return value + 1
