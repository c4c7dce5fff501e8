"""Tests with real worker processes and real signals."""
