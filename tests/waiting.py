"""How long a test waits for a condition."""

# The limit ends a run that hangs. A condition that holds after some milliseconds on a quiet machine
# may take minutes on a loaded one, and the test must pass there too.
LONG = 300.0
