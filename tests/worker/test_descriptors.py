"""A process whose descriptors a job keeps has some left to record outcomes and to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_jobs.worker.descriptors import Descriptors

pytestmark = pytest.mark.once

PROGRAM = """
import json, os, resource, sys
from django_jobs.worker.descriptors import Descriptors, DescriptorsKept

resource.setrlimit(resource.RLIMIT_NOFILE, (96, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
descriptors = Descriptors()
{before}

def opened():
    found = []
    try:
        while True:
            found.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return found

opened()
told, reason = [], ""
for _number in range(2):
    try:
        descriptors.put_back()
    except DescriptorsKept as kept:
        reason = str(kept)
    told.append(len(opened()))
os.write(1, json.dumps([told, reason, {after}]).encode())
"""


def played(before: str = "", after: str = "None") -> Any:
    program = PROGRAM.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_process_gets_its_spare_descriptors_once() -> None:
    told, reason, _after = played()
    assert told == [16, 0]
    assert reason == "Jobs keep 96 of the 96 descriptors of their process open."


def test_descriptor_that_took_the_number_of_a_spare_one_stays_open() -> None:
    # A job closed them all, and then a socket took their place.
    before = "os.closerange(3, 96); here, there = __import__('socket').socketpair()"
    told, _reason, after = played(before, "[here.send(b'x'), there.recv(1).decode()]")
    # The other fourteen are the program's own of the same file.
    assert told == [14, 0]
    assert after == [1, "x"]


def test_workers_of_a_process_share_its_spare_descriptors() -> None:
    kept = [Descriptors()]
    number = open_now()
    kept += [Descriptors() for _number in range(5)]
    assert open_now() == number


def open_now() -> int:
    return len(list(Path("/dev/fd").iterdir()))
