"""Long runs that break things on purpose and then read the rows: ``make torture``."""
