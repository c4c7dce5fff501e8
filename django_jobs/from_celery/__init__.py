"""Celery's names, and what stands for them here."""
