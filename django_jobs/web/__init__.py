"""Views for a project's own site: the metrics, the health, and the state of a job."""
