"""What happened and how things stand, in numbers.

The names below are for projects, and so is :class:`.prometheus.JobsCollector`.
"""

from .history import failures, statistics, totals

__all__ = ["failures", "statistics", "totals"]
