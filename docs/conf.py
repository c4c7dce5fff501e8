"""How Sphinx builds these pages: ``make docs``."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INIT = (ROOT / "django_jobs" / "__init__.py").read_text()
VERSION = re.search(r'__version__ = "(.+)"', INIT)

project = "django_jobs"
author = "the django_jobs developers"
version = release = VERSION[1] if VERSION else ""

exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"django_jobs {release}"
html_show_sphinx = False
html_copy_source = False
