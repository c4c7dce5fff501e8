"""Writes the tables of the page "Coming from Celery" from the code.

``django_jobs/from_celery`` has the tables. After a change of them run ``python -m
docs.celery_tables``. A comment before each table of the page names it::

    .. table: SETTINGS
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from django_jobs.from_celery import names, options, settings, signals
from django_jobs.from_celery.table import Rule, sentence

PAGE = Path(__file__).parent / "celery.rst"
WIDTH = 120
HEAD = """\
.. table: {name}

.. list-table::
   :header-rows: 1
   :widths: 45 55

   * - Celery
     - Here
"""
TABLES: dict[str, Iterable[Rule]] = {
    "IMPORTS": names.IMPORTS,
    "APP": names.APP,
    "REQUEST": names.REQUEST,
    "FIXTURES": names.FIXTURES,
    "LOGGERS": names.LOGGERS,
    "PACKAGES": names.PACKAGES,
    "COMMANDS": names.COMMANDS,
    "OPTIONS": options.TABLE,
    "SETTINGS": settings.SETTINGS,
    "SIGNALS": signals.SIGNALS,
}
TABLE = re.compile(r"\.\. table: (\w+)\n\n(?:\.\. list-table.*?\n(?=\S)|X\n\n)", re.DOTALL)


def written(page: str) -> str:
    """Return the text of the page with its tables as the code has them."""
    return TABLE.sub(lambda match: f"{table(match[1])}\n", page)


def table(name: str) -> str:
    rows = [
        cell("   * - ", ", ".join(f"``{each}``" for each in rule.names))
        + cell("     - ", text(rule))
        for rule in TABLES[name]
    ]
    return HEAD.format(name=name) + "".join(rows)


def text(rule: Rule) -> str:
    """Return the text of a rule as the page has it: it begins like a sentence."""
    return sentence(rule.text[0].upper() + rule.text[1:])


def cell(start: str, content: str) -> str:
    # A literal stays on one line.
    whole = re.sub("``.+?``", lambda match: match[0].replace(" ", "\0"), content)
    lines = textwrap.wrap(
        whole,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ") + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
