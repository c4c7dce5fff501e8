"""``runworker --log-format json`` writes lines of JSON only, in each of its processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import AsyncResult
from django_jobs.log.attributes import NEUTRAL
from tests.integration import jobs

pytestmark = pytest.mark.once


@pytest.mark.django_db(transaction=True)
def test_every_line_is_an_object_that_names_its_job(
    runworker: Callable[..., Any], until: Callable[..., None], tmp_path: Any
) -> None:
    worker = runworker("-c", "1", "-n", "shop", "--beat", "--log-format", "json", "-l", "DEBUG")
    said, failed = jobs.say.delay("one\ntwo"), jobs.fail_with.delay("broken")
    killed = jobs.never_release_the_gil.delay(str(tmp_path))
    until(lambda: worker.has_ended() or all(each.ready() for each in (said, failed, killed)))
    assert worker.stop() == 0
    lines = [json.loads(line) for line in worker.output().splitlines()]

    def of(job: AsyncResult[Any]) -> list[dict[str, Any]]:
        return [line for line in lines if line["job_id"] == str(job.id)]

    started, own, success = of(said)
    named = {"job_name": jobs.say.name, "queue": "default", "attempt": 1, "worker": "shop-0"}
    for line in of(said):
        assert {name: line[name] for name in named} == named
    assert (started["level"], success["status"]) == ("DEBUG", "SUCCESS")
    assert own["message"] == "one\ntwo\\ud800"
    assert (own["logger"], own["order"]) == ("shop.orders", 7)
    _started, failure = of(failed)
    assert failure["level"] == "ERROR"
    assert failure["exc_info"].endswith("ValueError: broken")
    *_, killing, end = of(killed)
    assert killing["message"].startswith("killing pid=")
    # Another process writes it, in the name of the one that is dead.
    assert "TimeLimitExceeded" in end["message"]
    assert {line["worker"] for line in of(killed)} == {"shop-0"}
    assert end["process"] not in (killing["process"], own["process"])
    rest = [line for line in lines if line["job_id"] is None]
    warning, start, *_ = rest
    assert warning["message"].startswith("--log-format does not change the handlers ")
    assert start["message"].startswith("starting worker name=shop ")
    assert (start["pool"], start["processes"], start["beat"]) == ("prefork", 1, True)
    processes = {"shop", "shop-0", "shop-beat", "shop-coordinator"}
    assert {line["worker"] for line in rest} == {*processes, None}
    (of_thread,) = [line for line in rest if line["message"].startswith("a thread has failed ")]
    assert of_thread["exc_info"].endswith("ZeroDivisionError: division by zero")
    assert all(NEUTRAL.keys() < line.keys() for line in lines)
