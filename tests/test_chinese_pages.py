"""The Chinese pages have the same code and the same parts as the English ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.pages import DOCS, ROOT, blocks, indented

pytestmark = pytest.mark.once

PAIRS = [
    (ROOT / "README.rst", ROOT / "README.zh-hans.rst"),
    *((DOCS / page.name, page) for page in sorted((DOCS / "zh-hans").glob("*.rst"))),
]
PAGES = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.name)
COMMENT = re.compile(r" +# [^'\"]*$", re.MULTILINE)


def code(page: Path) -> list[tuple[str, str]]:
    """The blocks of code, without comments at the ends of lines, which are translated."""
    return [(block.kind, COMMENT.sub("", block.text)) for block in blocks(page)]


def literals(page: Path) -> list[list[str]]:
    """The literal blocks: the lines below paragraphs that end with ``::``."""
    lines = page.read_text().splitlines()
    below = (
        [*indented(lines[number:], " ")]
        for number, line in enumerate(lines, 1)
        if line.endswith("::") and not line.startswith("..")
    )
    return [[COMMENT.sub("", line) for line in found if line] for found in below]


def shape(page: Path) -> list[str]:
    """The marks of headings, lists, tables and directives, in order."""
    lines = page.read_text().splitlines()
    marks = re.compile(r"(?:([=~-])\1{3,}$|(\* )|(\d+\. )|( *\.\. [\w-]+::| *\* - | +- ))")
    found = [match[0] for line in lines if (match := marks.match(line))]
    return [mark[:1] if set(mark) <= set("=~-") else mark for mark in found]


@PAGES
def test_chinese_page_has_the_code_of_the_english_one(english: Path, chinese: Path) -> None:
    assert code(chinese) == code(english)
    assert literals(chinese) == literals(english)


@PAGES
def test_chinese_page_has_the_parts_of_the_english_one(english: Path, chinese: Path) -> None:
    assert shape(chinese) == shape(english)


NAMES = re.compile(r"``([^`]+)``")
LINKS = re.compile(r"<(https?://[^>]+)>|:(?:doc|ref):`(?:[^`<]*<)?/?([^`>]+)>?`")
NUMBERS = re.compile(r"\d(?:[\d,.]*\d)?")


def paragraphs(page: Path) -> list[str]:
    parts = re.split(r"\n\s*\n", page.read_text())
    return [part for part in parts if not re.match(r"::$|[|]|`(?:中文|English) ", part.strip())]


def facts(paragraph: str) -> tuple[list[str], list[str]]:
    """What a translation keeps: names of code, and targets of links."""
    links = ["".join(found).replace("/zh-hans/", "/") for found in LINKS.findall(paragraph)]
    return sorted(NAMES.findall(paragraph)), sorted(links)


def numbers(paragraph: str) -> Counter[str]:
    return Counter(NUMBERS.findall(re.sub(r"``[^`]+``|<[^>]+>|:\w+:`[^`]+`", "", paragraph)))


@PAGES
def test_chinese_paragraphs_say_what_the_english_ones_say(english: Path, chinese: Path) -> None:
    """A paragraph is stale if it has other names, links or numbers."""
    for now, translated in zip(paragraphs(english), paragraphs(chinese), strict=True):
        if not now.startswith(":doc:`中文"):
            assert facts(translated) == facts(now), now
            # Chinese writes months, and some small numbers, as digits.
            assert numbers(now) <= numbers(translated), now


@PAGES
def test_pages_lead_to_each_other(english: Path, chinese: Path) -> None:
    assert re.search(r"[`<][^`]*zh-hans", english.read_text())
    assert "English" in chinese.read_text()


def test_the_test_sees_the_code() -> None:
    readme = ROOT / "README.rst"
    assert ("console", "$ python manage.py runworker --beat\n") in code(readme)
    assert ["    make demo", "    make test"] in literals(readme)
    assert shape(readme)[:3] == ["=", ".. image::", "* "]
