"""The state of a job, for a project's own pages."""
