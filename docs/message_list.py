"""Lists every message of the package for the page "Messages", so that a search finds it.

It reads them from the code as the test of their wording does, so none is left out. ``conf.py`` adds
the list to the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.messages import all_messages

# Where a message comes from: the beginning of its path, the heading, and the page that explains.
PARTS = (
    ("checks/database", "System checks of the database", "databases"),
    ("checks", "System checks", "settings"),
    ("conf", "Settings", "settings"),
    ("define/schedule", "Schedules", "schedules"),
    ("schedules", "Schedules", "schedules"),
    ("beat", "Schedules", "schedules"),
    ("define/canvas", "Workflows", "workflows"),
    ("workflows", "Workflows", "workflows"),
    ("define", "Job functions and their options", "defining"),
    ("api/decorator", "Job functions and their options", "defining"),
    ("api/result", "Results", "results"),
    ("api/group_result", "Results", "results"),
    ("api/waiting", "Results", "results"),
    ("api/signed_urls", "Results", "results"),
    ("api", "Calls", "enqueuing"),
    ("enqueue", "Calls", "enqueuing"),
    ("moments", "Calls", "enqueuing"),
    ("serialization", "Calls", "enqueuing"),
    ("limits", "Limits", "limits"),
    ("run", "Running a job", "reliability"),
    ("transitions", "Running a job", "reliability"),
    ("control", "Control", "control"),
    ("management", "Commands", "control"),
    ("worker", "Workers", "workers"),
    ("process", "Workers", "workers"),
    ("embedded", "The worker in a web process", "embedded"),
    ("testing", "Tests", "testing"),
    ("contrib/django_tasks", "django.tasks", "django_tasks"),
    ("contrib/sentry", "Sentry", "sentry"),
    ("contrib/opentelemetry", "OpenTelemetry", "opentelemetry"),
    ("from_celery", "Coming from Celery", "celery"),
    ("metrics", "Monitoring", "monitoring"),
    ("", "Other messages", "troubleshooting"),
)


def part_of(path: str) -> tuple[str, str]:
    """Return the heading and the page of the messages of a file."""
    return next((title, page) for start, title, page in PARTS if path.startswith(start))


def parts() -> dict[tuple[str, str], list[str]]:
    """Return the messages by heading and page, each once."""
    found: dict[tuple[str, str], dict[str, None]] = {part[1:]: {} for part in PARTS}
    for path, _line, text, _continued in all_messages("…"):
        found[part_of(path)][" ".join(text.split())] = None
    return {part: sorted(texts) for part, texts in found.items() if texts}


def lines() -> Iterator[str]:
    """Yield the page's source: a heading for each part, and a list of its messages."""
    for (title, page), texts in parts().items():
        yield from (title, "-" * len(title), "", f"More: :doc:`{page}`.", "")
        for text in texts:
            yield from (f"* {escaped(text)}", "")


def escaped(text: str) -> str:
    """Return *text* as reStructuredText that shows it as it is."""
    return re.sub(r"([\\*`_|<>:])", r"\\\1", text)
