"""May a claimed job start? Concurrency and rate limits."""
