"""A call becomes a row, in the caller's transaction."""
