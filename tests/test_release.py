"""What must be true before a tag is released, and what the changelog tells of each version."""

from __future__ import annotations

import datetime
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import django_jobs
from tests.pages import ROOT
from tests.test_distribution import NAME, URLS

pytestmark = pytest.mark.once

CHANGELOG = (ROOT / "CHANGELOG.rst").read_text()
KINDS = ("Upgrade notes", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
OURS = URLS["Source"].removeprefix("https://github.com/")


def headings(mark: str) -> list[str]:
    return re.findall(rf"^(\S.*)\n\{mark}{{4,}}$", CHANGELOG, re.MULTILINE)


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text())


@pytest.fixture(scope="module")
def problems() -> Any:
    spec = importlib.util.spec_from_file_location("check_release", ROOT / ".ci/check_release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems


def test_every_version_has_a_date_or_is_the_newest() -> None:
    versions = headings("-")
    assert re.fullmatch(rf"{re.escape(django_jobs.__version__)} \(\S+\)", versions[0])
    dated = versions[1:] if versions[0].endswith("(unreleased)") else versions
    dates = [datetime.date.fromisoformat(version.split("(")[1][:-1]) for version in dated]
    assert dates == sorted(dates, reverse=True)


def test_entries_say_what_kind_of_change_they_are() -> None:
    kinds = [heading.partition(":")[0] for heading in headings("~")]
    assert set(kinds) <= set(KINDS)
    assert {"Upgrade notes", "Added"} <= set(kinds)


def released(folder: Path, heading: str) -> Path:
    """A copy of the files that a release looks at, whose changelog has *heading*."""
    (folder / "django_jobs").mkdir()
    for name in ("django_jobs/__init__.py", "setup.cfg"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "CHANGELOG.rst").write_text(f"Changelog\n=========\n\n{heading}\n----------\n")
    return folder


VERSION = django_jobs.__version__


@pytest.mark.parametrize(
    ("heading", "tag", "repository", "says"),
    [
        (f"{VERSION} (2027-01-31)", f"v{VERSION}", OURS, None),
        (f"{VERSION} (unreleased)", f"v{VERSION}", OURS, "CHANGELOG.rst has no heading"),
        (f"{VERSION} (2027-01-31)", "v9.9.9", OURS, "__version__ is"),
        (f"{VERSION} (2027-01-31)", f"v{VERSION}", f"somebody/{NAME}", "lead elsewhere"),
        (f"{VERSION} (2027-01-31)", f"v{VERSION}", OURS[:-1], "lead elsewhere"),
    ],
)
def test_release_needs_the_version_a_date_and_this_repository(
    problems: Any, tmp_path: Path, heading: str, tag: str, repository: str, says: str | None
) -> None:
    found = "\n".join(problems(tag, repository, released(tmp_path, heading)))
    assert says in found if says else not found


def test_release_publishes_without_a_token_what_was_checked() -> None:
    release = workflow("release.yml")
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 takes "on" for true
    assert release["permissions"] == {"contents": "read"}
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["url"] == f"https://pypi.org/project/{NAME}/"
    assert not any("with" in step and "password" in step["with"] for step in publish["steps"])
    for command in (step["run"] for step in build["steps"] if "run" in step):
        for script in re.findall(r"\.ci/\S+\.py", command):
            assert (ROOT / script).is_file()


def test_files_of_the_hosting_service_are_valid_yaml() -> None:
    for path in [*(ROOT / ".github").rglob("*.yml"), ROOT / ".readthedocs.yaml"]:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
    docs = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    assert (ROOT / docs["sphinx"]["configuration"]).is_file()
