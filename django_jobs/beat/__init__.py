"""Beat enqueues the jobs of schedules: each tick exactly once, with any number of beats."""
