"""How Sphinx builds these pages: ``make docs``."""

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
INIT = (ROOT / "django_jobs" / "__init__.py").read_text()
VERSION = re.search(r'__version__ = "(.+)"', INIT)

project = "django_jobs"
author = "the django_jobs developers"
version = release = VERSION[1] if VERSION else ""

exclude_patterns = ["_build"]
# A message is found as it was printed.
smartquotes = False
nitpicky = True

# Names of Django and Python are links in the hosted pages. Elsewhere they are plain text, since a
# build needs no network.
if os.environ.get("READTHEDOCS"):
    extensions = ["sphinx.ext.intersphinx"]
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "django": (
            "https://docs.djangoproject.com/en/stable",
            "https://docs.djangoproject.com/en/stable/_objects/",
        ),
    }
else:
    nitpick_ignore_regex = [("py:.*", r"(?!django_jobs\b).*")]

html_theme = "furo"
HOSTED = "https://django-background-jobs.readthedocs.io/en/latest/"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_title = f"django_jobs {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


class ArchitectureDiagram(SphinxDirective):
    """``.. architecture-diagram::`` draws the packages from the code, in the page's colours."""

    def run(self) -> list[nodes.Node]:
        from docs.architecture_diagram import svg

        return [nodes.raw("", svg(), format="html")]


def add_messages(app: Sphinx, name: str, source: list[str]) -> None:
    """Write the messages of the package below the introduction of their page."""
    from docs.message_list import lines

    if name == "messages":
        source[0] += "\n".join(lines())


def write_llms(app: Sphinx, error: Exception | None) -> None:
    """Write the texts for programs that read beside the pages of HTML."""
    from docs import llms

    if error is None and app.builder.format == "html":
        llms.write(Path(app.outdir), html_baseurl or HOSTED)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write_llms)
    app.connect("source-read", add_messages)
    app.add_directive("architecture-diagram", ArchitectureDiagram)
