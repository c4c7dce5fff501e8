"""Steps: what a job has done is kept in rows, so that a later run of the job skips it."""
