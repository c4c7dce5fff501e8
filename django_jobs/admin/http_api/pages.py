"""Adds JSON to the pages of an admin, and addresses for its actions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt

from ...conf import get_settings
from ...suggest import did_you_mean
from ..time_filters import DatesFilter
from .requests import JsonAction, Refused, answer, check_reader, check_token, fields_of

if TYPE_CHECKING:
    _Mixed: TypeAlias = admin.ModelAdmin[Any]
else:
    _Mixed = object

#: ``?format=json`` asks for a page as JSON.
PARAMETER = "format"
_MOST_DIGITS = 10
_NO_PAGE = "there is no such page: p goes from 1 to the number of pages"


class JsonPagesMixin(_Mixed):
    """Answers ``?format=json`` for those who may see the page, and POSTs to ``api/ACTION``.

    Only a token opens the actions: they need no CSRF token, because no browser sends an
    ``Authorization`` header of its own.
    """

    json_actions: ClassVar[Mapping[str, JsonAction]] = {}

    def json_list(self, request: HttpRequest) -> Any:
        """Return the data of the list; needs the permission to view it."""
        raise Http404("This list has no JSON.")

    def json_page(self, request: HttpRequest, key: str) -> Any:
        """Return the data of the page of one row; needs the permission to view it."""
        raise Http404("This page has no JSON.")

    def get_urls(self) -> list[URLPattern]:
        return self.with_json(super().get_urls())

    def with_json(self, patterns: Sequence[URLPattern]) -> list[URLPattern]:
        """Return *patterns* with the JSON of the list and the page, after those of the actions."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        read: dict[str | None, Callable[..., Any]] = {
            f"{name}_changelist": self.json_list,
            f"{name}_change": self.json_page,
        }
        shown = [
            URLPattern(each.pattern, self._with_json(each.callback, read[each.name]),
                       each.default_args, each.name)
            if each.name in read else each
            for each in patterns
        ]  # fmt: skip
        if not self.json_actions:
            return shown
        return [path("api/<str:action>", self.action_view(), name=f"{name}_api"), *shown]

    def _with_json(self, page: Any, read: Callable[..., Any]) -> Any:
        def view(request: HttpRequest, **key: str) -> HttpResponse:
            if request.GET.get(PARAMETER) != "json":
                response: HttpResponse = page(request, **key)
                return response
            return answer(request, lambda: self._read(request, read, *key.values()))

        # The page checks the user itself; Django's middleware would not know the token.
        return login_not_required(functools.wraps(page)(view))

    def _read(self, request: HttpRequest, read: Callable[..., Any], *key: str) -> Any:
        if request.method not in ("GET", "HEAD"):
            error = "send a GET; actions are POSTs to api/ACTION of this list"
            raise Refused(405, error, Allow="GET, HEAD")
        check_reader(request, self.admin_site)
        # The rest are the filters of the list.
        request.GET = request.GET.copy()  # type: ignore[assignment]
        request.GET.pop(PARAMETER)  # type: ignore[misc]
        return read(request, *key)

    def checked_changelist(self, request: HttpRequest) -> Any:
        """Return the rows of the page of the list.

        A page ignores what it does not know. A program would take all rows for those that it asked
        for, so it is refused.
        """
        page = request.GET.get(PAGE_VAR, "1")
        if not (page.isascii() and page.isdecimal() and len(page) < _MOST_DIGITS):
            raise Refused(400, "p must be the number of a page")
        try:
            found = self.get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            if isinstance(error.__context__, InvalidPage):
                raise Refused(404, _NO_PAGE) from None
            raise
        # A list of one page shows it for every number.
        if not 1 <= int(page) <= found.paginator.num_pages:
            raise Refused(404, _NO_PAGE)
        for spec in found.filter_specs:
            if problem := _wrong_value(spec):
                raise Refused(400, problem)
        return found

    def action_view(self) -> Any:
        def view(request: HttpRequest, action: str) -> HttpResponse:
            return answer(request, lambda: self._act(request, action))

        return csrf_exempt(login_not_required(view))

    def _act(self, request: HttpRequest, action: str) -> Any:
        if not get_settings().api_tokens:
            raise Refused(404, "actions are off: set DJANGO_JOBS['API_TOKENS'] = True")
        if request.method != "POST":
            raise Refused(405, "send a POST with a JSON object", Allow="POST")
        check_token(request, self.admin_site)
        found = self.json_actions.get(action)
        if found is None:
            known = ", ".join(self.json_actions)
            hint = did_you_mean(action, self.json_actions)
            raise Refused(404, f"there is no action {action!r:.100}; allowed: {known}.{hint}")
        return found.run(self, request, fields_of(request, found))


def _wrong_value(spec: admin.ListFilter) -> str:
    if isinstance(spec, admin.SimpleListFilter):
        allowed = [str(value) for value, _label in spec.lookup_choices]
        if spec.value() and spec.value() not in allowed:
            return f"{spec.parameter_name} must be one of {', '.join(allowed)}"
    if isinstance(spec, DatesFilter):
        for name in spec.parameter_names:
            if spec.used_parameters.get(name) and spec.day(name) is None:
                return f"{name} must be a date such as 2026-01-31, after 1970"
    return ""
