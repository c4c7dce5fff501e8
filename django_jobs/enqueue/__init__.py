"""Calls become rows, in the caller's transaction."""
