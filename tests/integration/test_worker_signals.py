"""What the receivers of a worker's signals are told, in each process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

RECEIVERS = """
import json, os, pathlib
from django_jobs import signals

def note(sender, signal, options=None, worker_id=None, warm=None, **named):
    assert all(getattr(sender, key) == value for key, value in named.items())
    assert sender == named["name"] and named["pid"] == os.getpid()
    told = [NAMES[id(signal)], named["name"], named["hostname"], named["queues"], worker_id, warm]
    with pathlib.Path({path!r}).open("a") as file:
        file.write(json.dumps(told) + "\\n")

NAMES = {{id(value): name for name, value in vars(signals).items() if name.startswith("worker_")}}
for name in NAMES.values():
    getattr(signals, name).connect(note)
"""


@pytest.mark.parametrize(
    ("pool", "child"), [("prefork", "w@host-0"), ("threads", "w@host-0"), ("solo", "w@host-0")]
)
def test_receivers_hear_who_and_where(
    runworker: Callable[..., Any], tmp_path: Path, pool: str, child: str
) -> None:
    app = tmp_path / "listening"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "jobs.py").write_text(RECEIVERS.format(path=str(tmp_path / "told")))
    settings = "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'listening']\n"
    (tmp_path / "listening_settings.py").write_text(settings)
    place = ["--settings", "listening_settings", "--pythonpath", str(tmp_path)]
    size = [] if pool == "solo" else ["--processes", "1"]
    worker = runworker("--burst", "-P", pool, "-Q", "mail,default", "-n", "w@host", *place, *size)
    assert worker.wait() == 0, worker.output()
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    of_process = ["worker_process_init", "worker_ready", "worker_shutting_down"]
    assert [(signal, name) for signal, name, *_ in told] == [
        ("worker_init", "w@host"),
        *((signal, child) for signal in [*of_process, "worker_process_shutdown"]),
        ("worker_shutdown", "w@host"),
    ]
    assert {host for _signal, _name, host, *_ in told} == {socket.gethostname()}
    assert all(queues == ["mail", "default"] for _, _, _, queues, *_ in told)
    ids = {worker_id for signal, *_, worker_id, _warm in told if signal not in EDGES}
    assert len(ids - {None}) == len(ids) == 1
    assert [warm for signal, *_, warm in told if signal == "worker_shutting_down"] == [True]


EDGES = ("worker_init", "worker_shutdown")
