"""Job functions are found at start: in ``jobs`` and ``tasks`` of apps, and in ``IMPORTS``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_jobs.define import registry
from django_jobs.exceptions import UnknownJob

pytestmark = pytest.mark.once

JOB = "from django_jobs import job\n\n@job\ndef body() -> None: ...\n"
BROKEN = "raise RuntimeError('this module must not be imported')\n"

Install = Callable[..., list[str]]


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: dict[str, Any]
) -> Iterator[Install]:
    """Install apps that have these modules; return the names of the job functions that are new."""
    before, known = set(sys.modules), set(registered)
    monkeypatch.syspath_prepend(tmp_path)

    def install(*apps: str, **modules: str) -> list[str]:
        for name, text in modules.items():
            path = tmp_path / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with override_settings(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, *apps]):
            return sorted(set(registered) - known)

    yield install
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("depot", "harbour"):
            del sys.modules[name]


@pytest.mark.parametrize("part", ["jobs", "tasks"])
def test_modules_of_a_package_are_found(install: Install, part: str) -> None:
    names = {"init": "", "mail": JOB, "reports__init": "", "reports__daily": JOB}
    modules = {f"depot__{part}__{name}": text for name, text in names.items()}
    found = install("depot", depot__init="", **modules)
    assert found == [f"depot.{part}.mail.body", f"depot.{part}.reports.daily.body"]


def test_package_without_init_is_one_too(install: Install) -> None:
    assert install("depot", depot__init="", depot__jobs__mail=JOB) == ["depot.jobs.mail.body"]


def test_module_that_the_package_imports_itself_defines_its_jobs_once(install: Install) -> None:
    own = "from .mail import body\n"
    found = install("depot", depot__init="", depot__jobs__init=own, depot__jobs__mail=JOB)
    assert found == ["depot.jobs.mail.body"]


@pytest.mark.parametrize("name", ["tests", "test", "test_mail", "conftest", "tests__test_mail"])
def test_tests_are_not_imported(install: Install, name: str) -> None:
    package = {"depot__jobs__tests__init": BROKEN} if name == "tests__test_mail" else {}
    modules = {f"depot__jobs__{name}": BROKEN, **package}
    found = install("depot", depot__init="", depot__jobs__init="", depot__jobs__mail=JOB, **modules)
    assert found == ["depot.jobs.mail.body"]


def test_program_is_not_imported(install: Install, tmp_path: Path) -> None:
    folder = tmp_path / "depot" / "jobs"
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text(BROKEN)
    found = install("depot", depot__init="", depot__jobs__init="", depot__jobs__mail=JOB)
    assert found == ["depot.jobs.mail.body"]


def test_module_that_raises_stops_the_start(install: Install) -> None:
    with pytest.raises(RuntimeError, match="must not be imported"):
        install("depot", depot__init="", depot__jobs__init="", depot__jobs__mail=BROKEN)


def test_package_that_is_an_app_is_not_walked(install: Install) -> None:
    found = install(
        "depot", "depot.jobs", depot__init="", depot__jobs__init="", depot__jobs__views=BROKEN,
        depot__jobs__jobs=JOB,
    )  # fmt: skip
    assert found == ["depot.jobs.jobs.body"]


def test_app_within_a_package_is_not_walked(install: Install) -> None:
    found = install(
        "depot", "depot.jobs.board", depot__init="", depot__jobs__init="", depot__jobs__mail=JOB,
        depot__jobs__board__init="", depot__jobs__board__views=BROKEN,
    )  # fmt: skip
    assert found == ["depot.jobs.mail.body"]


def test_package_of_no_installed_app_is_not_imported(install: Install) -> None:
    found = install(
        "depot", depot__init="", harbour__init="", harbour__jobs__init=BROKEN,
        harbour__jobs__mail=BROKEN,
    )  # fmt: skip
    assert found == []


def test_module_of_imports_is_found(install: Install, settings: Any) -> None:
    settings.DJANGO_JOBS = {"IMPORTS": ["depot.background", "harbour.work"]}
    found = install(
        depot__init="", depot__background=JOB, harbour__init="", harbour__work__init="",
        harbour__work__mail=JOB,
    )  # fmt: skip
    assert found == ["depot.background.body", "harbour.work.mail.body"]


@pytest.mark.parametrize("name", ["depot.backgrund", "dpot.background", "depot/background.py", 5])
def test_imports_names_a_module_that_is_not_there(
    install: Install, settings: Any, name: object
) -> None:
    settings.DJANGO_JOBS = {"IMPORTS": [name]}
    with pytest.raises(ImproperlyConfigured) as caught:
        install(depot__init="", depot__background=JOB)
    assert f"DJANGO_JOBS['IMPORTS'] names {name!r}, and there is no such module." in str(
        caught.value
    )


def test_failing_import_inside_a_module_of_imports_is_shown_itself(
    install: Install, settings: Any
) -> None:
    settings.DJANGO_JOBS = {"IMPORTS": ["depot.background"]}
    with pytest.raises(ModuleNotFoundError, match="No module named 'requestz'"):
        install(depot__init="", depot__background="import requestz\n")


def test_name_in_a_row_imports_nothing(install: Install) -> None:
    install("depot", depot__init="", depot__background=BROKEN, depot__jobs__init="")
    assert registry.find("depot.background.body") is None
    with pytest.raises(UnknownJob, match=r"depot\.background\.body.*DJANGO_JOBS\['IMPORTS'\]"):
        registry.get("depot.background.body")
    assert "depot.background" not in sys.modules
