"""Compares django_jobs with bare SQL and with Celery: ``python -m benchmarks``."""
