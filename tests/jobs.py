"""Job functions that the tests enqueue."""

from __future__ import annotations

from typing import Any

from django_jobs import job


@job
def add(a: int, b: int = 0) -> int:
    return a + b


@job
def of_tenant(tenant: Any, number: int = 0) -> Any:
    return tenant


@job(concurrency=1, concurrency_key=["tenant"])
def one_a_tenant(tenant: str) -> str:
    return tenant


@job(unique="replace", unique_key=[])
def one_import(tenant: str) -> str:
    return tenant


@job
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@job
async def add_async(a: int, b: int = 0) -> int:
    return a + b


@job(queue="mail", priority=5)
def send(user_id: int) -> str:
    return f"sent to {user_id}"


@job(bind=True)
def tell_request(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    request = self.request
    return {
        "id": request.id,
        "args": request.args,
        "kwargs": request.kwargs,
        "retries": request.retries,
        "attempt": request.attempt,
        "queue": request.queue,
        "priority": request.priority,
        "eta": request.eta,
        "expires": request.expires,
        "headers": request.headers,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "worker": request.worker,
        "called_directly": request.called_directly,
        "is_eager": request.is_eager,
    }


@job(max_retries=0)
def fail(message: str = "broken") -> None:
    raise ValueError(message)
