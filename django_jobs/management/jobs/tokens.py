"""``jobs token``: tokens with which programs use the pages of the admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ...conf import DAY
from ...control import tokens
from ...display.times import relative
from ...models import ApiToken
from ...suggest import did_you_mean
from ...worker.flag_types import positive
from ..arguments import add_verb, add_verbs
from .control import sender
from .output import one_line, write_json, write_table

_MOST_SUGGESTED = 10_000
_COLUMNS = ("id", "name", "username", "permissions", "created_at", "created_by", "expires_at")


def add(verbs: Any) -> None:
    """Add ``jobs token`` with a parser for each command."""
    text = _("Make, list and revoke tokens for the HTTP API.")
    parser = verbs.add_parser("token", help=text, description=text)
    inner = add_verbs(parser, "what", "COMMAND")
    text = gettext_noop("Make a token of a user, and print it once.")
    made = add_verb(inner, "make", text, "what", "username", "name", "permissions", "days")
    made.add_argument("username", metavar="USERNAME", help=_("whose permissions it has"))
    made.add_argument("name", metavar="NAME", help=_("what uses it, such as grafana"))
    made.add_argument(
        "--permission", dest="permissions", action="append", default=[], metavar="APP.CODENAME",
        help=_("only this permission of the user, as django_jobs.view_job; repeatable"),
    )  # fmt: skip
    made.add_argument("--days", type=positive, metavar="N", help=_("days until it expires (never)"))
    add_verb(inner, "list", gettext_noop("List the tokens, without their secrets."), "what")
    gone = add_verb(inner, "revoke", gettext_noop("Revoke a token."), "what", "number")
    gone.add_argument("number", type=positive, metavar="ID", help=_("its id in the list"))


def token(out: OutputWrapper, *, what: str, using: str, as_json: bool, **given: Any) -> None:
    """Carry out one command."""
    commands: dict[str, Callable[..., None]] = {"make": _make, "list": _list, "revoke": _revoke}
    commands[what](out, using, as_json, **given)


def _make(
    out: OutputWrapper, using: str, as_json: bool, *, username: str, name: str,
    permissions: list[str], days: int | None,
) -> None:  # fmt: skip
    users: Any = get_user_model()._default_manager
    field = get_user_model().USERNAME_FIELD
    user = users.filter(**{field: username}).first()
    if user is None:
        known = users.values_list(field, flat=True)[:_MOST_SUGGESTED]
        raise CommandError(one_line(f"No user is named {username!r}.")
                           + did_you_mean(username, map(str, known)))  # fmt: skip
    if not (user.is_active and getattr(user, "is_staff", False)):
        raise CommandError(
            one_line(
                f"The user {username!r} may not enter the admin, so a token would open nothing. "
            )
            + "Set is_active and is_staff."
        )
    try:
        row, secret = tokens.make(
            user, name, permissions=permissions, seconds=None if days is None else days * DAY,
            by=sender(), using=using,
        )  # fmt: skip
    except ValueError as error:
        raise CommandError(one_line(error)) from None
    if as_json:
        write_json(out, {"id": row.pk, "token": secret})
    else:
        out.write(secret)


def _list(out: OutputWrapper, using: str, as_json: bool) -> None:
    rows = list(ApiToken.objects.using(using).order_by("pk"))
    if as_json:
        write_json(out, [{name: getattr(row, name) for name in _COLUMNS} for row in rows])
    elif rows:
        cells = [
            (row.pk, row.name, row.username, ", ".join(row.permissions) or _("all"),
             relative(row.created_at), relative(row.expires_at))
            for row in rows
        ]  # fmt: skip
        write_table(out, ("ID", "NAME", "USER", "PERMISSIONS", "MADE", "EXPIRES"), cells)
    else:
        out.write(_("No tokens."))


def _revoke(out: OutputWrapper, using: str, as_json: bool, *, number: int) -> None:
    if not tokens.revoke(number, using):
        raise CommandError(f"No token has the id {number}. `jobs token list` shows them.")
    if as_json:
        write_json(out, {"revoked": number})
    else:
        out.write(_("token %d: revoked") % number)
