"""Bare SQL, the limit: the fewest statements that keep django_jobs's guarantees.

The jobs are rows of django_jobs's own table with all its indexes. A process records 50 results and
claims 50 jobs at a time, fenced by worker and number of claims. It decodes arguments from JSON and
stores results. It has no retries, signals, leases, limits or pauses, so no queue in this table
can be faster with batches of this size.
"""

import json
import os
from typing import Any
from urllib.parse import urlsplit

from .. import body

#: Jobs per claim and per record.
BATCH = int(os.environ.get("BENCHMARK_BATCH", "50"))

FUNCTIONS = {"note": body.note, "sleep": body.sleep}


def limit(url: str) -> Any:
    """Return the bare system for the database of *url*."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from .sqlite import Limit
    elif scheme == "mysql":
        from .mysql import Limit
    else:
        from .postgresql import Limit
    return Limit(url)


def run(name: str, args: str) -> str:
    """Run one job and return its result's JSON text."""
    return json.dumps(FUNCTIONS[name](*json.loads(args)))
