"""What every long-running process needs; worker and beat share it."""
