"""Keys, and job functions whose values are encrypted."""

from __future__ import annotations

import types
from typing import Any

import pytest

from django_jobs import job, progress

NEW, OLD, OTHER = (f"{letter * 43}=" for letter in "AEI")
SECRET = "4111-1111-1111-1111"


@pytest.fixture
def keys(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [NEW]}


@pytest.fixture
def functions(registered: Any, keys: None) -> Any:
    @job(name="enc.charge", encrypt=True, max_retries=0)
    def charge(number: str, amount: int = 1) -> dict[str, Any]:
        progress(1, 2, f"charging {number}")
        return {"number": number, "amount": amount}

    @job(name="enc.named", encrypt=["owner", "more"], max_retries=0)
    def named(number: int, owner: Any = None, *rest: Any, **more: Any) -> list[Any]:
        return [number, owner, *rest, more]

    @job(name="enc.refuse", encrypt=True, max_retries=0)
    def refuse(number: str) -> None:
        raise ValueError(f"the bank refused {number}", number)

    @job(name="enc.plain", max_retries=0)
    def plain(value: Any = None, *more: Any) -> Any:
        return value

    @job(name="enc.fail", max_retries=0)
    def fail(value: Any = None) -> None:
        raise ValueError(f"broken by {value!r}", value)

    @job(name="enc.alarm", encrypt=["phone"], max_retries=0)
    def alarm(failure: Any, phone: str) -> str:
        return f"{failure['name']} {phone}"

    return types.SimpleNamespace(
        **{k: v for k, v in locals().items() if k not in ("registered", "keys")}
    )
