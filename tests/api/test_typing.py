"""What a type checker makes of ``@job``: read by mypy, as a user's editor would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SNIPPET = """
import datetime
from typing import Any
from collections.abc import Sequence
from django_jobs import AsyncResult, Call, JobContext, job

@job
def plain(user_id: int, note: str = "") -> str:
    return note

@job(queue="mail", max_retries=5)
def optioned(user_id: int) -> str:
    return ""

@job(bind=True)
def bound(self: JobContext, user_id: int) -> float:
    return 1.0

@job
async def asynchronous(user_id: int) -> bytes:
    return b""

@job(bind=True, queue="x")
async def bound_async(self: JobContext, user_id: int) -> bool:
    return True

@job
def typed(when: datetime.datetime, *keys: bytes, day: datetime.date | None = None) -> set[bytes]:
    return set(keys)

typed.delay(datetime.datetime.now(), b"")       # ok
typed.delay("2030-01-01")                       # arg-type
typed.delay(datetime.date.today())              # arg-type
typed.delay(datetime.datetime.now(), "")        # arg-type
typed.delay(datetime.datetime.now(), day=None)  # ok
reveal_type(typed.delay(datetime.datetime.now()).get())  # set[bytes]

def visit(page: str, user_id: int = 0) -> None: ...

@job(batch_size=10, call_signature=visit, queue="mail")
def visits(calls: list[Call]) -> list[float]:
    return [1.0 for call in calls]

@job(batch_size=10, batch_seconds=0.5, call_signature=visit)
async def visits_async(calls: list[Call]) -> Sequence[bytes]:
    return [b"" for call in calls]

@job(batch_size=10)
def visits_of_any(calls: list[Call]) -> None: ...

visits.delay("/", user_id=1)            # ok
visits.delay("/", user=1)               # call-arg
visits.delay(1)                         # arg-type
visits([Call(args=["/"])])              # ok
visits("/")                             # arg-type
visits_async.delay(1)                   # arg-type
visits_of_any.delay(1, b=2)             # ok
reveal_type(visits.delay("/").get())    # float
reveal_type(visits([]))                 # typing.Sequence[float]
reveal_type(visits_async.delay("/").get())  # bytes
reveal_type(visits_of_any.delay().get())  # None

@job(batch_size=10, bind=True)          # call-overload
def bound_batch(self: JobContext, calls: list[Call]) -> None: ...

@job(batch_size=10)                     # arg-type
def not_a_batch(calls: int) -> None: ...

plain(1)                                # ok
plain("1")                              # arg-type
plain.delay(1, note="x")                # ok
plain.delay("1")                        # arg-type
plain.delay()                           # call-arg
plain.delay(1, nope=2)                  # call-arg
optioned.delay(1)                       # ok
optioned.delay("1")                     # arg-type
bound(1)                                # ok
bound.delay(1)                          # ok
bound.delay("1")                        # arg-type
bound.delay(object(), 1)                # call-arg
asynchronous.delay("1")                 # arg-type
bound_async.delay("1")                  # arg-type
plain.apply_async((1,), countdown=5)    # ok
plain.apply_async((1,), countdwon=5)    # call-arg
plain.apply_async((1,), queue=5)        # arg-type

reveal_type(plain)                      # JobFunction[[user_id: int, note: str =], str, str]
reveal_type(plain(1))                   # str
reveal_type(plain.delay(1))             # AsyncResult[str]
reveal_type(plain.delay(1).get())       # str
reveal_type(bound.delay(1).get())       # float
reveal_type(plain.delay_many([(1,)]))   # list[AsyncResult[str]]
reveal_type(asynchronous.delay(1).get())  # bytes
reveal_type(bound_async.delay(1).get())   # bool
reveal_type(plain.apply((1,)).get())    # str

async def use() -> None:
    reveal_type(await asynchronous(1))            # bytes
    reveal_type(await plain.adelay(1))            # AsyncResult[str]
    reveal_type(await (await plain.adelay(1)))    # str
    await plain.adelay("1")                       # arg-type

@job(queu="mail")                       # call-overload
def misspelled() -> None: ...

@job(max_retries="3")                   # call-overload
def wrong() -> None: ...
"""


def short(text: str) -> str:
    """A type's text without the names of modules and of mypy's own notation."""
    names = r"\b(?:builtins|django_jobs(?:\.[a-z_]+)*|uuid|def )\.?"
    return re.sub(names, "", text).replace("?", "")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, set[str]]:
    """What mypy says of each line: the codes of its errors, and the type it reveals."""
    folder = tmp_path_factory.mktemp("typing")
    source = folder / "snippet.py"
    source.write_text(SNIPPET)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file", str(root / "setup.cfg"),
            "--cache-dir", str(root / ".mypy_cache"), "--no-error-summary", "--no-pretty",
            "--hide-error-context", str(source),
        ],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, set[str]] = {}
    for line in done.stdout.splitlines():
        if match := re.search(r'snippet\.py:(\d+): note: Revealed type is "(.*)"', line):
            found.setdefault(int(match[1]), set()).add(short(match[2]))
        elif match := re.search(r"snippet\.py:(\d+): error: .*\[([\w-]+)\]$", line):
            found.setdefault(int(match[1]), set()).add(match[2])
    assert found, done.stdout + done.stderr
    return found


EXPECTED = {
    number: (line.partition("#")[0].strip(), line.partition("#")[2].strip())
    for number, line in enumerate(SNIPPET.splitlines(), start=1)
    if "#" in line
}


@pytest.mark.parametrize("number", EXPECTED, ids=[code for code, _ in EXPECTED.values()])
def test_type_checker_says(verdicts: dict[int, set[str]], number: int) -> None:
    assert EXPECTED[number][1] in verdicts.get(number, {"ok"})


def test_type_checker_says_nothing_of_other_lines(verdicts: dict[int, set[str]]) -> None:
    assert set(verdicts) <= set(EXPECTED)
