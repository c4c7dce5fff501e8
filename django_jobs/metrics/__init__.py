"""Numbers: what jobs did, and the present state of queues and workers.

The names below are for projects, and so is :class:`.prometheus.JobsCollector`.
"""

from .history import failures, statistics, totals

__all__ = ["failures", "statistics", "totals"]
