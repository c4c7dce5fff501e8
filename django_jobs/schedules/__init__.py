"""The ticks of schedules and the jobs for them. No module here reads the clock."""
