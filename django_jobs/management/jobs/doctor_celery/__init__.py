"""``jobs doctor-celery``: what a project has of Celery's, and what becomes of each.

It reads the project's source and imports nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings as django_settings
from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _

from ....from_celery.settings import SETTINGS, setting_of
from ....from_celery.table import find
from ..output import one_line, write_json
from ..progress import Progress
from . import beat_rows, calls, classes, decorators, imports, others, receivers, settings, strings
from .finding import Finding, Place, Section
from .project import Note, Project, nothing, own_folders

# Settings with a value that no file of the project sets: from the environment, or from a library.
_ELSEWHERE = "(settings)"


def doctor_celery(
    out: OutputWrapper, *, using: str, as_json: bool, folders: Iterable[str] = ()
) -> bool:
    """Print what is left of Celery in the project; return whether something is.

    *folders* replace ``BASE_DIR``.
    """
    with Progress(None) as progress:
        # Each module is read first, and looked through afterwards.
        project = Project(_folders(folders), progress.advance)
        found = sorted(set(findings(project, using, progress.advance)))
    if as_json:
        shown = [
            {"file": each.file, "line": each.line, "what": each.what, "becomes": each.becomes,
             "step": each.step, "docs": each.docs}
            for each in found
        ]  # fmt: skip
        write_json(out, {"findings": shown, "files": len(project.files)})
    else:
        _report(out, found, len(project.files))
    return bool(found)


def findings(project: Project, using: str, note: Note = nothing) -> Iterator[Finding]:
    """Yield everything of Celery's that the project has; *note* gets 1 after each module."""
    symbols = project.symbols
    prefixes, configured = settings.namespaces(symbols), settings.configurations(symbols)
    loaded = _loaded(prefixes)
    acks_late = any(getattr(django_settings, name) for name in loaded.get("task_acks_late", ()))
    names = set()
    for module in symbols.modules:
        yield from decorators.findings(module, symbols, acks_late)
        for look in (imports.findings, classes.findings, receivers.findings, calls.findings):
            yield from look(module, symbols)
        for finding in settings.findings(module, symbols, prefixes, configured):
            names.add(finding.what)
            yield finding
        yield from strings.findings(module)
        note(1)
    yield from _set_elsewhere(loaded, names)
    yield from project.broken
    for path, shown in project.files:
        yield from others.texts(path, shown)
    yield from beat_rows.findings(using)


def _set_elsewhere(loaded: dict[str, list[str]], names: set[str]) -> Iterator[Finding]:
    place = Place(_ELSEWHERE)
    for setting, spelled in loaded.items():
        rule = find(SETTINGS, setting)
        for name in spelled if rule else ():
            if rule and name not in names:
                yield place.ruled(0, name, rule, Section.SETTINGS)


def _loaded(prefixes: set[str]) -> dict[str, list[str]]:
    """Return the loaded Django settings that are Celery's, by Celery's names."""
    found: dict[str, list[str]] = {}
    for name in filter(str.isupper, dir(django_settings)):
        for setting in filter(None, {setting_of(name, prefix) for prefix in prefixes}):
            found.setdefault(setting, []).append(name)
    return found


def _folders(given: Iterable[str]) -> list[Path]:
    folders = [Path(each).resolve() for each in given] or own_folders()
    for folder in folders:
        if not folder.is_dir():
            raise CommandError(f"{str(folder)!r} is not a folder. Name folders with source.")
    return folders


def _report(out: OutputWrapper, found: list[Finding], files: int) -> None:
    for each in found:
        line = f":{each.line}" if each.line else ""
        out.write(f"{each.file}{line}: {one_line(each.what)}")
        step = _("step %(step)d, %(docs)s") % {"step": each.step, "docs": each.docs}
        out.write(f"    {one_line(each.becomes)} ({step})")
    if not found:
        out.write(_("Nothing of Celery is left. Files read: %(files)d.") % {"files": files})
        return
    steps = Counter(each.step for each in found)
    out.write("")
    numbers = {"number": len(found), "files": files}
    out.write(_("To do: %(number)d. Files read: %(files)d.") % numbers)
    for number, count in sorted(steps.items()):
        out.write("  " + _("step %(step)d: %(number)d") % {"step": number, "number": count})
