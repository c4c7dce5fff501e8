"""Chores beside the life of a job, a file each, with a ``run_once`` that tests call."""
