"""Writes the tables of the pages "Names at a glance" and "Commands" from the code.

``conf.py`` adds them to the pages, so no option, check, permission, column or flag is left out. The
meaning of a name stands on one page; the tables take its first sentence.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.management import BaseCommand, load_command_class
from django.db import models

from tests.messages import text_of

from .columns import MEANINGS

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "django_jobs"
ROW = re.compile(r"^   \* - ``([^`]+)``\n((?:     .*\n|\n(?=     ))+)", re.MULTILINE)
COMMANDS = ("runworker", "runbeat", "rundev", "jobs")
TYPES = {
    "UUIDField": "UUID", "CharField": "text", "TextField": "text", "JSONTextField": "JSON",
    "DateTimeField": "datetime", "MomentField": "datetime", "BooleanField": "true or false",
    "FloatField": "number", "ForeignKey": "a job",
}  # fmt: skip


def cells(page: str) -> dict[str, list[str]]:
    """Return the cells of the page's rows by their first one, which is a literal."""
    text = (DOCS / f"{page}.rst").read_text()
    cell = re.compile(r"^     - ?", re.MULTILINE)
    return {
        name: [" ".join(each.split()) for each in cell.split(rest)[1:]]
        for name, rest in ROW.findall(text)
    }


def sentence(text: str) -> str:
    """Return the first sentence of a cell."""
    found = re.match(r"(?:``[^`]*``|[^`.]|\.(?! |$)|`)+?(?:\.(?= |$)|$)", text)
    return (found[0] if found else text).rstrip(".:;")


def table(widths: str, *rows: tuple[str, ...]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in rows:
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()
    yield ""


#: The pages with tables of options, and where these options are given.
PLACES = {"defining": "@job", "enqueuing": "a call", "schedules": "a schedule", "steps": "a step"}


def options() -> dict[str, tuple[str, list[str], str]]:
    """Return for each option its default, the pages that have it, and its meaning on the first."""
    found: dict[str, tuple[str, list[str], str]] = {}
    for page in PLACES:
        for name, row in cells(page).items():
            if name.startswith("-"):  # a flag of runbeat
                continue
            default = row[0] if page == "defining" else ""
            meaning = sentence(row[-1]).removesuffix("; see below")
            found.setdefault(name, (default, [], meaning))[1].append(page)
    return found


def option_lines() -> Iterator[str]:
    yield from table(
        "18 14 18 50",
        ("Option", "Default of ``@job``", "Of", "Meaning"),
        *(
            (
                f"``{name}``",
                default,
                ", ".join(f":doc:`{PLACES[page]} <{page}>`" for page in pages),
                f"{meaning}.",
            )
            for name, (default, pages, meaning) in sorted(options().items())
        ),
    )


def checks() -> dict[str, tuple[list[str], list[str]]]:
    """Return the messages and the hints of each system check, by its id."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    files = [*(PACKAGE / "checks").glob("*.py"), *PACKAGE.glob("contrib/*/checks.py")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            given = {word.arg: word.value for word in node.keywords}
            name = getattr(given.get("id"), "value", "")
            if str(name).startswith("django_jobs."):
                messages, hints = found.setdefault(name, ([], []))
                messages += text_of(node.args[0], "…")
                hints += text_of(given["hint"], "…") if "hint" in given else []
    return found


def escaped(text: str) -> str:
    return re.sub(r"([\\*`_|<>:])", r"\\\1", " ".join(text.split()))


NO_HINT = "Read the message: it has the value and what is allowed."


def check_lines() -> Iterator[str]:
    means = cells("settings")
    yield from table(
        "18 41 41",
        ("Id", "Means", "What to do"),
        *(
            (
                f"``{name.removeprefix('django_jobs.')}``",
                sentence(means[name][0]) + ".",
                " ".join(map(escaped, dict.fromkeys(hints))) or NO_HINT,
            )
            for name, (_messages, hints) in sorted(checks().items())
        ),
    )


def own_models() -> list[type[models.Model]]:
    return list(apps.get_app_config("django_jobs").get_models())


def permissions() -> dict[str, str]:
    """Return Django's label of each permission, by its codename."""
    found = {}
    for model in own_models():
        meta = model._meta
        for action in meta.default_permissions:
            label = f"Can {action} {meta.verbose_name}"
            found[get_permission_codename(action, meta)] = label
        found |= {codename: str(label) for codename, label in meta.permissions}
    return found


UNUSED = "Django makes it; nothing asks for it."


def permission_lines() -> Iterator[str]:
    means = cells("admin")
    yield from table(
        "26 32 42",
        ("Permission", "In Django's list", "Allows"),
        *(
            (f"``{name}``", label, f"{sentence(means[name][0])}." if name in means else UNUSED)
            for name, label in sorted(permissions().items())
        ),
    )


def stable_columns() -> dict[str, list[str]]:
    """Return the names of the stable columns of each model, from the page about stability."""
    return {
        name: re.findall(r"``(\w+)``", row[0].partition(";")[0])
        for name, row in cells("stability").items()
        if not name.startswith("django_jobs")
    }


def kind_of(model: str, column: str) -> str:
    field = apps.get_model("django_jobs", model)._meta.get_field(column)
    kind = TYPES.get(type(field).__name__, "whole number")
    return f"{kind}, or NULL" if field.null else kind


def column_lines() -> Iterator[str]:
    for model, names in stable_columns().items():
        yield from (model, "~" * len(model), "")
        yield from table(
            "22 24 54",
            ("Column", "Type", "Meaning"),
            *((f"``{name}``", kind_of(model, name), MEANINGS[model][name]) for name in names),
        )


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command and each of its verbs, with its parser."""
    for command in COMMANDS:
        parser = load_command_class("django_jobs", command).create_parser("manage.py", command)
        yield command, parser
        yield from verbs(command, parser)


def verbs(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, inner in action.choices.items():
                yield f"{name} {verb}", inner
                yield from verbs(f"{name} {verb}", inner)


def help_of(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the text of ``--help`` in a terminal with 100 columns, without Django's options."""
    common = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    for action in parser._actions:
        if action.dest in common:
            action.help = argparse.SUPPRESS
    parser.prog = f"manage.py {name}"
    own = parser.formatter_class
    parser.formatter_class = lambda prog: own(prog, width=100)  # type: ignore[assignment]
    return parser.format_help()


def command_lines() -> Iterator[str]:
    for name, parser in parsers():
        title = f"manage.py {name}"
        line = "~" if " " in name else "-"
        yield from (title, line * len(title), "", ".. code-block:: text", "")
        yield from (f"   {line}".rstrip() for line in help_of(name, parser).splitlines())
        yield ""


#: What is written into a page in place of a comment.
PAGES = {
    "reference": {
        ".. the options": option_lines,
        ".. the permissions": permission_lines,
        ".. the checks": check_lines,
        ".. the columns": column_lines,
    },
    "commands": {".. the commands": command_lines},
}


def written(name: str, text: str) -> str:
    """Return the source of a page with its tables."""
    for comment, lines in PAGES.get(name, {}).items():
        text = text.replace(f"{comment}\n", "\n".join(lines()) + "\n")
    return text
