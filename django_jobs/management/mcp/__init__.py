"""``jobs mcp``: the verbs of ``manage.py jobs`` as tools of the Model Context Protocol."""
