"""Every text of the package is marked for translation where people read it, and is in Chinese.

After a change of texts::

    cd django_jobs
    django-admin makemessages -l zh_Hans --no-location --no-wrap
    django-admin compilemessages
"""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

import django_jobs

PACKAGE = Path(django_jobs.__file__).parent
CATALOGUE = PACKAGE / "locale" / "zh_Hans" / "LC_MESSAGES"
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[.\d]*[a-z]")


def texts_of_code() -> Iterator[tuple[str, str]]:
    """Each marked text, and its plural or an empty text."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                if texts and isinstance(texts[0], str):
                    plural = texts[1] if node.func.id == "ngettext" else ""  # type: ignore[attr-defined]
                    yield texts[0], plural


def texts_of_templates() -> Iterator[tuple[str, str]]:
    quoted = r"""(u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*")"""
    call = re.compile(rf"(?<!\w)(?:_|n?gettext)\({quoted}(?:, ?{quoted},)?")
    for path in PACKAGE.rglob("*.html"):
        for match in call.finditer(templatize(path.read_text())):
            yield ast.literal_eval(match[1]), ast.literal_eval(match[2]) if match[2] else ""


TEXTS = sorted({*texts_of_code(), *texts_of_templates()})


@pytest.fixture(scope="module")
def chinese() -> dict[str, str]:
    with (CATALOGUE / "django.mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key[0] if isinstance(key, tuple) else key: text for key, text in catalogue.items()}


def test_there_are_texts_of_both_kinds() -> None:
    found = {text for text, _plural in TEXTS}
    assert {"job function", "No worker has begun this job.", "Retry all…"} <= found
    assert ("%d job was changed.", "%d jobs were changed.") in TEXTS
    assert ("%(frames)s frame of libraries", "%(frames)s frames of libraries") in TEXTS


def test_every_text_is_translated(chinese: dict[str, str]) -> None:
    assert [text for text, _plural in TEXTS if not chinese.get(text)] == []


def test_no_translation_is_left_over(chinese: dict[str, str]) -> None:
    assert set(chinese) - {""} - {text for text, _plural in TEXTS} == set()


def test_translations_keep_the_placeholders(chinese: dict[str, str]) -> None:
    for text, plural in TEXTS:
        wanted = sorted(PLACEHOLDER.findall(plural or text))
        assert sorted(PLACEHOLDER.findall(chinese[text])) == wanted, text


def test_the_compiled_catalogue_is_the_source(chinese: dict[str, str]) -> None:
    source = (CATALOGUE / "django.po").read_text()
    entry = re.compile(
        r'^msgid "(.+)"\n(?:msgid_plural ".*"\n)?msgstr(?:\[0\])? "(.*)"$', re.MULTILINE
    )
    told = {
        ast.literal_eval(f'"{m[1]}"'): ast.literal_eval(f'"{m[2]}"') for m in entry.finditer(source)
    }
    assert told == {key: text for key, text in chinese.items() if key}
    assert "fuzzy" not in source


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["dashboard", "job", "queue", "schedule", "worker", "function"])
def test_pages_speak_chinese(boss: Client, page: str) -> None:
    with translation.override("zh-hans"):
        html = boss.get(
            f"/admin/django_jobs/{page}/", headers={"Accept-Language": "zh-hans"}
        ).content.decode()
    assert re.search("任务|队列|计划|工作进程", html)
    assert not re.search(r">\s*(Queue|Job function|Worker|Status|Ready|Failures)\s*<", html)
