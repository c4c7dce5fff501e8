"""Receivers of Celery's signals."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ....from_celery.names import APP as OF_APP
from ....from_celery.signals import SIGNALS
from ....from_celery.table import find
from .finding import BEAT, Finding, Place, Section, name_of
from .symbols import APP, Module, Symbols

_PREFIX = "celery.signals."


def findings(module: Module, symbols: Symbols) -> Iterator[Finding]:
    place = Place(module.file)
    decorators = {
        id(each.func if isinstance(each, ast.Call) else each): f" of {node.name}()"
        for node in module.nodes
        if isinstance(node, ast.FunctionDef)
        for each in node.decorator_list
    }
    for node in module.nodes:
        if not isinstance(node, ast.Attribute) or node.attr not in ("connect", "connect_via"):
            continue
        origin = symbols.origin(module, node.value)
        what = f"{name_of(node)}{decorators.get(id(node), '')}"
        if origin.startswith(_PREFIX):
            rule = find(SIGNALS, origin.removeprefix(_PREFIX))
            if rule is not None:
                yield place.ruled(node, what, rule, Section.SIGNALS)
        elif origin.startswith(f"{APP}.on_"):
            rule = find(OF_APP, origin.removeprefix(f"{APP}."))
            if rule is not None:
                found = place.ruled(node, what, rule, Section.APP)
                yield place.finding(node, what, found.becomes, BEAT, Section.APP)
