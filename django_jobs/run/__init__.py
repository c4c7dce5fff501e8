"""One attempt, in order: claim, execute, outcome, record."""
