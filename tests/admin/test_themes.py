"""The pages work in every theme, also in themes without the variables of Django's admin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

import django_jobs

STATIC = Path(django_jobs.__file__).parent / "static" / "django_jobs"
SHEETS = sorted(path.name for path in STATIC.glob("*.css"))


@pytest.mark.parametrize("sheet", SHEETS)
def test_variable_of_the_admin_has_a_fallback(sheet: str) -> None:
    css = (STATIC / sheet).read_text()
    # A page with another sheet has admin.css, too.
    declared = css + (STATIC / "admin.css").read_text()
    own = set(re.findall(r"^\s*(--[\w-]+):", declared, re.MULTILINE))
    bare = {name for name in re.findall(r"var\((--[\w-]+)\s*\)", css) if name not in own}
    assert bare == set()


def test_own_variables_follow_those_of_the_admin() -> None:
    css = (STATIC / "admin.css").read_text()
    light, dark = re.findall(r"^:root.*?\{(.*?)^\}", css, re.MULTILINE | re.DOTALL)
    declared = re.compile(r"--jobs-([\w-]+): var\(--([\w-]+), [^;]+\);")
    names = {name for name, _of_admin in declared.findall(light)}
    assert {"body-fg", "error-fg", "message-error-bg"} <= names
    assert {name for name, _of_admin in declared.findall(dark)} < names
    # A value in one theme only would remain after a switch to the other theme.
    assert all(name == of_admin for name, of_admin in declared.findall(light + dark))
    used = set(re.findall(r"var\(--jobs-([\w-]+)\)", css))
    assert used == names


def test_hidden_column_is_hidden_with_its_heading() -> None:
    css = re.sub(r"/\*.*?\*/", "", (STATIC / "admin.css").read_text(), flags=re.DOTALL)
    hidden = re.findall(r"([^{}]*field-(\w+)[^{}]*)\{ display: none; \}", css)
    assert [name for _selector, name in hidden] == ["wait_column"]
    # The headings of some themes have no class: hidden cells alone would shift the others.
    assert all(f":has(.column-{name})" in selector for selector, name in hidden)


@pytest.mark.django_db
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("model", ["job", "worker", "schedule"])
def test_parts_above_a_list_are_in_one_box(model: str, boss: Client) -> None:
    html = boss.get(f"/admin/django_jobs/{model}/").content.decode()
    head, _form, _rest = html.partition('<form id="changelist-form"')
    outside, box, inside = head.partition('<div class="jobs-list-head">')
    assert box
    for part in ('class="jobs-alerts', 'id="changelist-search"', 'data-region="tabs"'):
        assert part not in outside
    assert 'id="changelist-search"' in inside
    assert inside.count("<div") == inside.count("</div>") - 1
