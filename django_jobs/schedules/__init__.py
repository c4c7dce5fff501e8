"""When a schedule is due, and the job that it makes. No clock is read here."""
