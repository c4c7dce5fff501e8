"""Checks that a tag may be released: ``python .ci/check_release.py v0.1.0 OWNER/REPOSITORY``."""

import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(tag: str, repository: str, root: Path = ROOT) -> list[str]:
    """Return what speaks against a release of *tag* from *repository*."""
    found = []
    version = re.search(r'__version__ = "(.+)"', (root / "django_jobs/__init__.py").read_text())
    if version is None or tag != f"v{version[1]}":
        found.append(f"The tag is {tag}, and __version__ is {version and version[1]}.")
    number = re.escape(tag.removeprefix("v"))
    changelog = (root / "CHANGELOG.rst").read_text()
    if not re.search(rf"^{number} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.rst has no heading '{tag.removeprefix('v')} (YYYY-MM-DD)'.")
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    urls = setup["metadata"]["project_urls"].splitlines()
    if f"Source = https://github.com/{repository}" not in urls:
        found.append(f"The project_urls of setup.cfg lead elsewhere than to {repository}.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(*sys.argv[1:])) or None)
