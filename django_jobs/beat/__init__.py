"""``runbeat``: schedules are rows, and each tick enqueues a job exactly once."""
