"""What the index page says of the distribution is true, and every text leads to it."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.text import slugify

from tests.pages import DOCS, ROOT

pytestmark = pytest.mark.once

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
NAME = SETUP["metadata"]["name"]
EXTRAS = set(SETUP["options.extras_require"])
URLS = dict(line.split(" = ") for line in SETUP["metadata"]["project_urls"].strip().splitlines())
README = (ROOT / "README.rst").read_text()
KINDS = {".py", ".rst", ".md", ".cfg", ".toml", ".txt", ".yml", ".yaml", ".html", ".po"}
NAMED = {"Makefile", "Dockerfile", "Procfile"}
OTHERS = (".venv", ".git", "_build", "build", "dist")
# With extras, or where something is installed, it is a distribution. "." is a checkout.
WITH_EXTRAS = re.compile(r"(?<![\w/])([A-Za-z][\w.-]*|\.)\[([\w, ]+)\]")
INSTALLS = re.compile(r"(?:pip3? install|uv add|poetry add|pdm add)([^\n`]*)")
OUR_LINKS = re.compile(rf"https://[^\s>`'\")]*{NAME}[^\s>`'\")]*")


def texts() -> Iterator[tuple[Path, str]]:
    for path in ROOT.rglob("*"):
        hidden = any(part.startswith(OTHERS) for part in path.relative_to(ROOT).parent.parts)
        is_text = path.suffix in KINDS or path.name in NAMED
        of_hosting = path.is_relative_to(ROOT / ".github")
        if is_text and (of_hosting or not hidden) and path != Path(__file__):
            yield path, path.read_text(errors="replace")


def wanted(text: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the names like ours that *text* installs, with the extras that it asks for."""
    found = [(match[1], match[2]) for match in WITH_EXTRAS.finditer(text)]
    for line in INSTALLS.findall(text):
        found += [(word, "") for word in re.findall(r"[\w.-]+", line)]
    for name, extras in found:
        if (name == "." and extras) or re.fullmatch(r"[Dd]jango[-_]?[\w-]*[Jj]obs", name):
            yield name, {extra.strip() for extra in extras.split(",")} - {""}


def test_texts_install_this_distribution_with_extras_that_it_has() -> None:
    found = [(path, *each) for path, text in texts() for each in wanted(text)]
    assert any(extras for _path, _name, extras in found)
    assert [each for each in found if each[1] not in (NAME, ".")] == []
    assert [each for each in found if not each[2] <= EXTRAS] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pip install django-jobs", [("django-jobs", set())]),
        ("uv add gunicorn 'django_jobs>=1'", [("django_jobs", set())]),
        ("$ pip install '.[postgresql, sentri]'", [(".", {"postgresql", "sentri"})]),
        ("the extra django-jobs[mysql]", [("django-jobs", {"mysql"})]),
        ("pip install django-environ", []),
        ("DJANGO_JOBS[queue]", []),
    ],
)
def test_the_test_sees_names_and_extras(text: str, found: list[tuple[str, set[str]]]) -> None:
    assert list(wanted(text)) == found


def test_addresses_are_those_of_the_metadata() -> None:
    known = (URLS["Documentation"], URLS["Source"], f"https://pypi.org/project/{NAME}/")
    raw = URLS["Source"].replace("github.com", "raw.githubusercontent.com") + "/main/"
    badges = ("https://img.shields.io/pypi/", f"https://readthedocs.org/projects/{NAME}/")
    for path, text in texts():
        for link in OUR_LINKS.findall(text):
            assert link.startswith((*known, raw, *badges)), f"{path}: {link}"
            if link.startswith(raw):
                assert (ROOT / link.removeprefix(raw)).is_file(), f"{path}: {link}"


def anchors(page: Path) -> set[str]:
    """Return what an address may have after ``#``: the labels and the headings of a page."""
    text = page.read_text()
    labels = re.findall(r"^\.\. _([\w-]+):$", text, re.MULTILINE)
    headings = re.findall(r"^(\S.*)\n([=~-])\2{3,}$", text, re.MULTILINE)
    return {slugify(each.replace("_", "-")) for each in [*labels, *(h for h, _mark in headings)]}


def test_links_to_the_documentation_have_a_page() -> None:
    found = 0
    for path, text in texts():
        for link in OUR_LINKS.findall(text):
            page, _, anchor = link.removeprefix(URLS["Documentation"]).partition("#")
            if not link.startswith(URLS["Documentation"]) or not page.endswith(".html"):
                continue
            source = (DOCS / page).with_suffix(".rst")
            assert source.is_file(), f"{path}: {link}"
            assert not anchor or anchor in anchors(source), f"{path}: {link}"
            found += 1
    assert found


def test_classifiers_are_what_the_readme_and_the_hosted_tests_name() -> None:
    classifiers = SETUP["metadata"]["classifiers"]
    prefixes = {"Python": "Programming Language :: Python", "Django": "Framework :: Django"}
    for name, prefix in prefixes.items():
        row = re.search(rf"^{name} +(.+)$", README, re.MULTILINE)
        assert row
        assert re.findall(rf"{prefix} :: (\d+\.\d+)", classifiers) == row[1].split(", ")
    hosted = (ROOT / ".github/workflows/ci.yml").read_text()
    row = re.search(r"^Python +(.+)$", README, re.MULTILINE)
    assert row
    assert re.findall(r"^ +(3\.\d+)$", hosted, re.MULTILINE) == row[1].split(", ")


def test_readme_shows_on_an_index_page() -> None:
    """An index page has no files beside it, and its renderer knows no roles of Sphinx."""
    for page in ROOT.glob("README*.rst"):
        text = page.read_text()
        pictures = re.findall(r"^ *\.\. (?:\|\w+\| )?image:: (.+)$", text, re.MULTILINE)
        assert pictures
        assert all(picture.startswith("https://") for picture in pictures)
        assert not re.search(r":(doc|ref|file|download|class|func):`", text)
    assert not re.findall(r"<(?!https://)[^>\s]+\.(?:rst|md|html)>`_", README)


def test_there_is_one_number_for_the_speed_and_it_is_the_measured_one() -> None:
    """A run of the benchmarks renews the page's ratios; the README rounds the first of them."""
    ratios = (DOCS / "measured/ratios.txt").read_text()
    drain = re.search(r"\* - Drain: no-op jobs .+\n +- .+\n +- .+\n +- ([\d.]+)\n", ratios)
    pages = [(ROOT / name).read_text() for name in ("README.rst", "README.zh-hans.rst")]
    claims = [re.findall(r"(\d+)(?: times as many| 倍)", text) for text in pages]
    assert drain
    assert [len(found) for found in claims] == [1, 1]
    assert claims[0] == claims[1]
    assert int(claims[0][0]) == pytest.approx(float(drain[1]), rel=0.15)
