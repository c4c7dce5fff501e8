"""The commands ``jobs``, ``runworker`` and ``runbeat``."""
