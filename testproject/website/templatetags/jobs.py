import inspect
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_jobs.define import registry
from django_jobs.models import Job

from .. import polling

register = template.Library()


@register.filter
def explain(job: Job) -> str:
    return polling.explain(job)


@register.filter
def short_name(job: Job) -> str:
    """Return the name without its module: ``send_activation``."""
    return job.name.rpartition(".")[2]


@register.simple_tag
def job_link(job_id: UUID | None, text: str = "this job in the admin") -> str | SafeString:
    if job_id is None:
        return ""
    try:
        url = reverse("admin:django_jobs_job_change", args=[job_id])
    except NoReverseMatch:
        return text
    return format_html('<a href="{}">{}</a>', url, text)


@register.inclusion_tag("website/refresh.html")
def refresh(
    url_name: str, stamp: str = "", pk: int | None = None, bar: bool = True
) -> dict[str, str | bool]:
    """Show a progress bar that refreshes itself and the ``data-part`` elements of the page."""
    url = reverse(url_name, args=[] if pk is None else [pk])
    return {"url": url, "stamp": stamp, "bar": bar}


class Behind(NamedTuple):
    """A job function of a page, with its places in the admin."""

    name: str
    source: str
    function_url: str
    jobs_url: str


@register.inclusion_tag("website/behind.html")
def behind(*names: str) -> dict[str, list[Behind]]:
    """Show the job functions that do a page's work, with their code and links into the admin."""
    jobs_url = reverse("admin:django_jobs_job_changelist")
    functions = []
    for name in names:
        function = registry.find(name)
        functions.append(
            Behind(
                name.rpartition(".")[2],
                inspect.getsource(inspect.unwrap(function)).rstrip() if function else "",
                reverse("admin:django_jobs_function_change", args=[name]),
                f"{jobs_url}?{urlencode({'name': name})}",
            )
        )
    return {"functions": functions}
