"""Bodies of the features that :mod:`tests.torture.jobs` lacks, for runs with all of them in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

from django_jobs import Call, chain, current_job, group, job, progress, send_event
from tests.torture import jobs, ledger
from tests.torture.jobs import body

#: Longest wait for an event, in seconds: it comes long before.
PATIENCE = 600.0

#: Seconds for which :mod:`tests.torture.in_flight` keeps jobs from their end, unless it ends them.
HELD = 3600.0


@job(rate_limit="20/s")
def rated() -> None:
    with body():
        pass


@job(queue="fair")
def in_turn(customer: int) -> int:
    with body():
        return customer


@job(encrypt=True)
def secret(text: str) -> str:
    with body():
        progress(1, 2, "half of it")
        return text


@job
def reporting() -> None:
    with body():
        for done in range(3):
            progress(done, 3, "parts")
            time.sleep(0.01)


@job
async def awaiting() -> None:
    with body():
        await asyncio.sleep(0.01)


@job(batch_size=10, batch_seconds=0.2)
def batched(calls: list[Call]) -> list[int]:
    with contextlib.ExitStack() as bodies:
        for call in calls:
            bodies.enter_context(ledger.Body(str(call.id)))
        return [call.args[0] for call in calls]


@job(bind=True)
def patient(self: Any, name: str) -> Any:
    """Run a step, sleep, wait for an event, run another step."""
    with body():
        first = self.step("before", lambda: 1)
        self.sleep(0.5)
        second = self.wait_for_event(name, timeout=PATIENCE)
        return self.step("after", lambda: first + second)


@job
def announce(name: str) -> None:
    with body():
        send_event(name, 2, keep=60)


@job(result_expires=60)
def failing() -> None:
    with body():
        raise ValueError("it fails always")


@job
def ticked() -> None:
    with body():
        pass


@job(autoretry_for=(ValueError,), max_retries=3, retry_backoff=HELD, retry_jitter=False)
def retried() -> int:
    with body():
        if current_job.request.retries < 1:
            raise ValueError("not yet")
        return 1


@job(bind=True)
def asleep(self: Any) -> int:
    with body():
        first = self.step("before", lambda: 1)
        self.sleep(HELD)
        return int(self.step("after", lambda: first + 1))


@job(concurrency=1)
def one_at_a_time() -> None:
    """Run until the handover, so that the others wait for it."""
    with body("one at a time"):
        while not released().exists():
            time.sleep(0.05)
        time.sleep(0.5)


def released() -> Path:
    """Return the file that is there when jobs are to end."""
    return Path(os.environ["TORTURE_FOLDER"], "released")


class Composed:
    """What is enqueued by more than one call; ``delay()`` returns the handle of the last job."""

    def __init__(self, make: Any) -> None:
        self.delay = make


def _patient() -> Any:
    name = f"torture {uuid.uuid4()}"
    result = patient.delay(name)
    announce.apply_async((name,), countdown=1)
    return result


def _revoked() -> Any:
    result = jobs.quick.apply_async((1,), countdown=3)
    result.revoke()
    return result


workflow = Composed(
    lambda: chain(group(jobs.add.s(1), jobs.add.s(2)), jobs.add.s(), jobs.add.s(3))()
)
waiting = Composed(_patient)
revoked = Composed(_revoked)
later = Composed(lambda: jobs.quick.apply_async((1,), countdown=2))

MIX: list[tuple[Any, ...]] = [
    (rated,), (in_turn, lambda chance: chance.randrange(5)), (secret, "for two eyes"), (reporting,),
    (awaiting,), (batched, 1), (batched, 2), (failing,), (workflow,), (waiting,), (revoked,),
    (later,),
]  # fmt: skip
