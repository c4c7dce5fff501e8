"""Measures django_jobs beside the bare-SQL limit and Celery: ``python -m benchmarks``."""
