"""One worker process of the bare system, until a signal stops it."""

import os

from . import limit

limit(os.environ["DATABASE_URL"]).work()
