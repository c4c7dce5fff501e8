"""Periodic chores, one a file, each with a ``run_once()``."""
