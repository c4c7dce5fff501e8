"""Every text of the package is marked for translation where people read it, and is in Chinese.

After a change of texts::

    cd django_jobs
    django-admin makemessages -l zh_Hans --no-location --no-wrap
    django-admin compilemessages
"""

from __future__ import annotations

import ast
import datetime
import functools
import gettext
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command, load_command_class
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

import django_jobs
from django_jobs.admin import chart_axes
from django_jobs.admin.schedule_fields import tick_text
from django_jobs.management.jobs.output import FIELDS, TITLES
from django_jobs.metrics.summaries import WEEK
from django_jobs.models import Schedule
from tests import jobs

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


@functools.cache
def texts() -> list[tuple[str, str]]:
    return sorted({*texts_of_code(), *texts_of_templates()})


@pytest.fixture(scope="module")
def chinese() -> dict[str, str]:
    with (CATALOGUE / "django.mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key[0] if isinstance(key, tuple) else key: text for key, text in catalogue.items()}


@pytest.mark.once
def test_there_are_texts_of_both_kinds() -> None:
    found = {text for text, _plural in texts()}
    assert {"job function", "No worker has started this job.", "Retry all…"} <= found
    assert ("%d job was changed.", "%d jobs were changed.") in texts()
    assert ("%(frames)s frame of libraries", "%(frames)s frames of libraries") in texts()


@pytest.mark.once
def test_every_text_is_translated(chinese: dict[str, str]) -> None:
    assert [text for text, _plural in texts() if not chinese.get(text)] == []


@pytest.mark.once
def test_no_translation_is_left_over(chinese: dict[str, str]) -> None:
    assert set(chinese) - {""} - {text for text, _plural in texts()} == set()


@pytest.mark.once
def test_translations_keep_the_placeholders(chinese: dict[str, str]) -> None:
    for text, plural in texts():
        wanted = sorted(PLACEHOLDER.findall(plural or text))
        assert sorted(PLACEHOLDER.findall(chinese[text])) == wanted, text


@pytest.mark.once
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


# --- commands -----------------------------------------------------------------------------------

COMMANDS = ("jobs", "runworker", "runbeat", "rundev")
CHINESE = re.compile("[\u4e00-\u9fff]")
VERBS = (
    ("list",), ("stats",), ("failures",), ("schedules",), ("top",), ("inspect", "queues"),
    ("inspect", "active"), ("inspect", "registered"),
)  # fmt: skip


def output_of(*arguments: str, language: str = "zh-hans") -> str:
    out = io.StringIO()
    with translation.override(language):
        call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def literals(node: ast.AST) -> bool:
    """Tell whether a text with letters stands there as it is, in one piece or with values."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
    return any(isinstance(text, str) and re.search("[a-z]{3}", text) for text in texts)


# Tools of AI agents are described in English, as JSON is.
FOR_AGENTS = {PACKAGE / "management/mcp/tools.py"}


@pytest.mark.once
@pytest.mark.parametrize(
    "path", sorted({*(PACKAGE / "management").rglob("*.py")} - FOR_AGENTS), ids=str
)
def test_help_and_output_of_commands_are_marked(path: Path) -> None:
    bare = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            bare += [key.value for key in node.keywords if key.arg in ("help", "description")]
            if ast.unparse(node.func).endswith((".stdout.write", "out.write")):
                bare += node.args[:1]
    assert [ast.unparse(node) for node in bare if literals(node)] == []


@pytest.mark.once
def test_titles_of_tables_and_fields_are_in_the_catalogue() -> None:
    found: set[str] = set()
    for path in (PACKAGE / "management" / "jobs").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple):
                texts = [each.value for each in node.elts if isinstance(each, ast.Constant)]
                if texts and all(re.fullmatch("[A-Z]+( [A-Z]+)*", str(text)) for text in texts):
                    found |= {str(text) for text in texts}
    assert found == set(TITLES)
    assert {"job", "error"} <= set(FIELDS)


@pytest.mark.once
@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_chinese(name: str) -> None:
    with translation.override("zh-hans"):
        parser = load_command_class("django_jobs", name).create_parser("manage.py", name)
    assert CHINESE.search(parser.description or "")
    assert "%" not in parser.format_help().replace("%h", "").replace("%n", "").replace("%i", "")


@pytest.mark.django_db
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_command_speaks_chinese(verb: tuple[str, ...]) -> None:
    jobs.echo.delay("很长的参数")
    Schedule.objects.create(name="每天", job_name="tests.jobs.add", interval_seconds=60)
    told = output_of(*verb)
    assert CHINESE.search(told)
    assert not re.search(r"\b(QUEUE|JOB|STATUS|WORKER|ago|No job)\b", told)


@pytest.mark.django_db
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_output_for_programs_is_the_same_in_every_language(verb: tuple[str, ...]) -> None:
    jobs.add.delay(1)
    told = [output_of(*verb, "--json", language=language) for language in ("en", "zh-hans")]
    chinese, english = (json.loads(re.sub(r'"at": ".*"', '"at": ""', text)) for text in told)
    assert chinese == english


@pytest.mark.django_db
def test_skipped_jobs_are_told_in_chinese_to_people_only() -> None:
    pending = jobs.add.delay(1)
    assert output_of("retry", pending.id) == "已重试 0 个，跳过：1 状态为 待处理\n"
    told = json.loads(output_of("retry", pending.id, "--json"))
    assert told == {"retried": 0, "skipped": {"is pending": 1}}


@pytest.mark.django_db
def test_warnings_are_english_in_every_language() -> None:
    Schedule.objects.create(name="daily", job_name="tests.jobs.add", interval_seconds=60)
    told = io.StringIO()
    with translation.override("zh-hans"):
        call_command("jobs", "stats", "--json", stdout=io.StringIO(), stderr=told)
    assert "warning: No beat runs: schedules do not fire." in told.getvalue()
    assert told.getvalue().isascii()


@pytest.mark.django_db
def test_columns_stand_below_each_other_with_wide_characters() -> None:
    Schedule.objects.create(name="每天", job_name="tests.jobs.add", interval_seconds=60)
    Schedule.objects.create(name="nightly", job_name="tests.jobs.add", interval_seconds=60)
    lines = output_of("schedules").splitlines()
    assert len({columns(line[: line.index("tests.jobs.add")]) for line in lines[1:]}) == 1
    assert columns(lines[0][: lines[0].index("任务函数")]) == columns("nightly  ")


def test_days_are_written_as_chinese_does() -> None:
    day = datetime.datetime(2026, 1, 5, 8, tzinfo=datetime.UTC)
    days = [day + datetime.timedelta(days=passed) for passed in range(8)]
    with translation.override("zh-hans"):
        assert tick_text(day) == "2026年1月5日 星期一 08:00:00 UTC"
        assert [text for _place, text in chart_axes.times(days, WEEK)][:1] == ["1月6日"]
