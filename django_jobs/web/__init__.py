"""How far a job is, for a project's own pages."""
