"""What people and code do to jobs, queues, schedules and workers from outside."""
