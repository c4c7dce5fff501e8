"""One worker command of a peer, or its tables: ``python -m benchmarks.peers NAME work|prepare``."""

import importlib
import sys

name, operation = sys.argv[1:]
module = importlib.import_module(f"benchmarks.peers.{name}")
getattr(module, operation, lambda: None)()
