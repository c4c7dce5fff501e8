"""Writes ``llms.txt`` and ``llms-full.txt`` beside the pages, for programs that read.

The first lists the pages, with what each is about. The second has the sources of all of them in the
order of the index, without what the tests alone read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NAME = "django-background-jobs"
SUMMARY = (
    "Background jobs for Django, in the project's own database (PostgreSQL, MariaDB, MySQL or"
    " SQLite) and without a broker. Install the distribution django-background-jobs, import"
    " django_jobs."
)
TREE = re.compile(
    r"^\.\. toctree::\n(?:   :.*\n)*?   :caption: (.+)\n(?:   :.*\n)*\n((?:   .+\n)+)", re.MULTILINE
)
# Blocks and comments for the tests, and directives that only the HTML needs.
HIDDEN = re.compile(
    r"^( *)\.\. (?:check:|a worker runs|a beat runs|the worker runs until|compiled only:"
    r"|toctree::|architecture-diagram::)"
    r"(?: .*)?\n(?:\1 +.*\n|\s*\n(?=\1 +))*",
    re.MULTILINE,
)
INCLUDE = re.compile(
    r"^\.\. include:: (.+)\n(?:   :start-after: (.+)\n)?(?:   :end-before: (.+)\n)?", re.MULTILINE
)


def pages() -> Iterator[tuple[str, list[str]]]:
    """Yield the captions of the index with the names of their pages; translations are left out."""
    for caption, listed in TREE.findall((DOCS / "index.rst").read_text()):
        names = [line.split("<")[-1].rstrip(">") for line in listed.split("\n") if line.strip()]
        yield caption, [name.strip() for name in names if "zh-hans" not in name]


def included(found: re.Match[str]) -> str:
    name, start, end = found.groups()
    text = (DOCS / name).resolve().read_text()
    text = text[text.index(start) + len(start) :] if start else text
    return text[: text.index(end)] if end else text


@cache
def source(name: str) -> str:
    """Return the text of a page, without what is for the tests."""
    text = (DOCS / f"{name}.rst").read_text()
    text = INCLUDE.sub(included, text)
    if name == "messages":
        from docs.message_list import lines

        text += "\n".join(lines())
    from docs.reference_tables import written

    text = written(name, text)
    return HIDDEN.sub("", text.removeprefix(":nosearch:\n"))


def title(text: str) -> str:
    return text.lstrip().partition("\n")[0]


def about(text: str) -> str:
    """Return the first sentence of a page."""
    paragraphs = re.split(r"\n\s*\n", text.strip())[1:]
    prose = (each for each in paragraphs if re.match(r"[A-Z`\"*:]", each) and each[-1] in ".:")
    first = " ".join(next(prose, "").split())
    plain = re.sub(r":\w+:`(?:([^`<]+) <[^`]+>|([^`]+))`", r"\1\2", first).replace("``", "`")
    end = re.search(r"[.:](?= [A-Z`]|$)", plain)
    return f"{plain[: end.start()]}." if end else plain


def index(base: str) -> str:
    """Return ``llms.txt``, whose links begin with *base*."""
    lines = [f"# {NAME}", "", f"> {SUMMARY}", ""]
    lines += [f"- [All pages in one text]({base}llms-full.txt)", ""]
    for caption, names in pages():
        lines += [f"## {caption}", ""]
        for name in names:
            text = source(name)
            lines.append(f"- [{title(text)}]({base}{name}.html): {about(text)}")
        lines.append("")
    return "\n".join(lines)


def full() -> str:
    """Return ``llms-full.txt``."""
    texts = [source(name).strip() for _caption, names in pages() for name in names]
    return "\n\n\n".join([f"{NAME}: {SUMMARY}", *texts]) + "\n"


def write(folder: Path, base: str) -> None:
    (folder / "llms.txt").write_text(index(base))
    (folder / "llms-full.txt").write_text(full())
