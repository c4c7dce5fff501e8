"""``jobs reencrypt``."""

from __future__ import annotations

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...control.reencryption import reencrypt
from ...exceptions import EncryptionError
from .output import write_json
from .progress import Progress


def show_reencryption(out: OutputWrapper, *, using: str, as_json: bool) -> bool:
    """Encrypt all values with the first key; return whether some could not be decrypted."""
    try:
        with Progress(None) as progress:
            done = reencrypt(using=using, note=progress.advance)
    except EncryptionError as error:
        raise CommandError(str(error)) from None
    if as_json:
        counts = {name: getattr(done, name) for name in ("jobs", "renewed", "kept", "closed")}
        write_json(out, {**counts, "closed_jobs": done.closed_jobs})
        return done.closed > 0
    text = ngettext(
        "%(number)d job has encrypted values.", "%(number)d jobs have encrypted values.", done.jobs
    )
    out.write(text % {"number": done.jobs})
    text = _("%(renewed)d values were encrypted anew, %(kept)d had the first key already.")
    out.write(text % {"renewed": done.renewed, "kept": done.kept})
    if done.closed:
        text = _("No key opens %(number)d values. The first jobs that have some: %(ids)s.")
        out.write(text % {"number": done.closed, "ids": ", ".join(map(str, done.closed_jobs))})
    return done.closed > 0
