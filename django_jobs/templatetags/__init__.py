"""Template tags for projects: ``{% load django_jobs %}``."""
