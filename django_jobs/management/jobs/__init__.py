"""The verbs of ``manage.py jobs``, and how they print."""
