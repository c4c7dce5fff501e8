"""The recipes of the page about logging write what they promise, with the real libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import DOCS, blocks

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
#: Logs as jobs do, in this process and in one that it forks, as a prefork worker does.
SCRIPT = """
import logging, logging.config, os
import django
django.setup()
import settings
logging.config.dictConfig(settings.LOGGING)
from django_jobs import log
from tests.log.test_attributes import CLAIMED

def say(worker):
    with log.working_as(worker, CLAIMED):
        logging.getLogger("shop").warning("says", extra={"order": 7})
    logging.shutdown()

if os.fork() == 0:
    say("host-0")
    os._exit(0)
os.wait()
say("host-1")
"""


def recipes() -> dict[str, tuple[str, str]]:
    """Return the settings of each recipe, and the module that they need."""
    found, module = {}, ""
    for block in blocks(DOCS / "logging.rst"):
        if block.text.startswith("# library/queued.py"):
            module = block.text
        elif block.text.startswith("# settings.py"):
            last = re.findall(r'"\(\)": "?([\w.]+)', block.text)[-1]
            found[last] = block.text, module
    return found


RECIPES = recipes()


def test_page_has_all_recipes() -> None:
    assert set(RECIPES) == {
        "django_jobs.log.JobFilter",
        "django_jobs.log.JsonFormatter",
        "library.queued.Queued",
        "pythonjsonlogger.json.JsonFormatter",
        "structlog.stdlib.ProcessorFormatter",
    }


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"django_jobs.log.JobFilter"}))
def test_recipe_writes_json_that_names_the_job(name: str, tmp_path: Path) -> None:
    settings, module = RECIPES[name]
    (tmp_path / "settings.py").write_text(settings)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "queued.py").write_text(module)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", SCRIPT],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["worker"] for line in lines] == ["host-0", "host-1"]
    for line in lines:
        assert (line["job_name"], line["queue"], line["attempt"]) == ("shop.jobs.buy", "mail", 2)
        assert line["order"] == 7
        assert "says" in (line.get("message"), line.get("event"))
