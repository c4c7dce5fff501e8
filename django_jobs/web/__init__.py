"""Views for a project's own site: the metrics, and the state of a job."""
