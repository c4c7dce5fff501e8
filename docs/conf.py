"""How Sphinx builds these pages: ``make docs``."""

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import django_jobs  # noqa: E402

project = "django_jobs"
author = "the django_jobs developers"
version = release = django_jobs.__version__

exclude_patterns = ["_build"]
# A message is found as it was printed.
smartquotes = False
nitpicky = True

extensions = ["sphinx.ext.autodoc"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# Annotations name private classes, which have no page.
nitpick_ignore_regex = [("py:.*", ".*")]
# The docstrings of public names are read from the code, which Django has to load.
settings.configure(
    SECRET_KEY="docs",  # noqa: S106
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django_jobs",
    ],
)
django.setup()
# The package loads its names when they are used, so autodoc does not see them.
vars(django_jobs).update({name: getattr(django_jobs, name) for name in django_jobs.__all__})

# Names of Django and Python are links in the hosted pages. A build elsewhere needs no network.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    objects = "https://docs.djangoproject.com/en/stable"
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "django": (objects, f"{objects}/_objects/"),
    }

html_theme = "furo"
html_search_scorer = str(ROOT / "docs/scorer.js")
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


def write_tables(app: Sphinx, name: str, source: list[str]) -> None:
    """Write the tables that come from the code in place of their comments."""
    from docs.reference_tables import written

    source[0] = written(name, source[0])


def write_llms(app: Sphinx, error: Exception | None) -> None:
    """Write the texts for programs that read beside the pages of HTML."""
    from docs import llms

    if error is None and app.builder.format == "html":
        llms.write(Path(app.outdir), html_baseurl or HOSTED)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write_llms)
    app.connect("source-read", add_messages)
    app.connect("source-read", write_tables)
    app.add_directive("architecture-diagram", ArchitectureDiagram)
