"""What programs read: llms.txt, llms-full.txt and the files for coding agents."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands

from docs import llms
from tests.pages import DOCS, ROOT, Block, blocks, public_modules
from tests.test_docs import Page, dotted_names, is_public

FOR_USERS = ROOT / "django_jobs/AGENTS.md"
FOR_CONTRIBUTORS = ROOT / "AGENTS.md"
BASE = "https://example.com/docs/"


def names() -> list[str]:
    return [name for _caption, listed in llms.pages() for name in listed]


@pytest.mark.once
def test_index_has_every_page_once() -> None:
    written = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.rst")}
    listed = names()
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for name in written if "/" not in name} - {"index"}


@pytest.mark.once
def test_llms_txt_links_every_page_and_says_what_it_is_about() -> None:
    found = re.findall(r"^- \[(.+)\]\((.+)\): (.+\.)$", llms.index(BASE), re.MULTILINE)
    assert [link for _title, link, _about in found] == [f"{BASE}{name}.html" for name in names()]
    assert not [about for _title, _link, about in found if re.search(":[a-z]+:`|``", about)]
    assert all(title[0].isalpha() for title, _link, _about in found)


@pytest.mark.once
def test_llms_full_has_the_pages_without_what_is_for_the_tests(tmp_path: Path) -> None:
    llms.write(tmp_path, BASE)
    text = (tmp_path / "llms-full.txt").read_text()
    for name in names():
        for block in blocks(DOCS / f"{name}.rst"):
            first = block.text.partition("\n")[0]
            if block.kind != "worker" and block.shown and not first.startswith(":"):
                assert first in text, f"{name}: {first}"
    assert not re.search(r"^ *\.\. (check|toctree|include|compiled)", text, re.MULTILINE)
    assert "\n.. a worker runs" not in text
    # The text after a hidden block is still there.
    assert "Both views respond in milliseconds" in text


def code_of(path: Path) -> list[Block]:
    text = path.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block("python", each[1], text[: each.start()].count("\n") + 2) for each in found]


@pytest.mark.django_db
@pytest.mark.usefixtures("registered")
def test_code_for_users_agents_runs(
    settings: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]
) -> None:
    page = Page(FOR_USERS, settings, monkeypatch, work)
    found = code_of(FOR_USERS)
    assert len(found) == 3
    for block in found:
        page.run(block)
        assert all(
            is_public(name) for name in dotted_names(block) if name.startswith("django_jobs")
        )


@pytest.mark.once
def test_files_for_agents_name_what_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (FOR_USERS, FOR_CONTRIBUTORS, ROOT / "CONTRIBUTING.rst"):
        text = path.read_text()
        assert set(re.findall(r"`make (\w+)", text)) <= targets
        assert set(re.findall(r"manage\.py (\w+)", text)) <= set(get_commands())
        for name in re.findall(r"`((?:django_jobs|docs|tests|\.ci)/[\w./]+|\w+\.rst)`", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"
        for name in re.findall(r"`(django_jobs\.\w+)`", text):
            assert name in public_modules(), f"{path.name}: {name}"


@pytest.mark.once
def test_api_has_the_public_modules() -> None:
    """Others have pages of their own: rows, signals, the admin, addresses and integrations."""
    shown = re.findall(r"^\.\. auto\w+:: (\S+)$", (DOCS / "api.rst").read_text(), re.MULTILINE)
    elsewhere = {
        name
        for name in public_modules()
        if re.search(r"\.(contrib\..*|admin|models|signals|urls|prometheus)$", name)
    }
    modules = {re.sub(r"\.[A-Z]\w+$", "", name) for name in shown}
    assert modules | elsewhere == public_modules() | {"django_jobs.control.schedules"}
