"""The limit: the fewest statements that keep django_jobs's promises, with nothing around them.

Jobs stand in django_jobs's own table with all its indexes. A process records 50 results and claims
50 jobs at a time, fenced by worker and attempt; arguments are decoded from JSON, results stored.
There are no retries, signals, leases, limits or pauses: with batches of that size, no queue in this
table can be faster.
"""

import json
import os
from typing import Any
from urllib.parse import urlsplit

from .. import body

#: Jobs of one claim and of one record.
BATCH = int(os.environ.get("BENCHMARK_BATCH", "50"))

FUNCTIONS = {"note": body.note, "sleep": body.sleep}


def limit(url: str) -> Any:
    """Return the bare system of the database behind *url*."""
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
