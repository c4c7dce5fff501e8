"""Filters for the log of the development server."""

import logging


class NotPolling(logging.Filter):
    """Keeps successful status requests out of the development server's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_line = str(record.args[0]) if record.args else ""
        return "/status/" not in request_line or getattr(record, "status_code", 200) >= 400
