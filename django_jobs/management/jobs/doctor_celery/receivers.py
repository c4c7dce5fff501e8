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
        for at, signal in _connected(node):
            origin = symbols.origin(module, signal)
            what = f"{name_of(at)}{decorators.get(id(at), '')}"
            if origin.startswith(_PREFIX):
                rule = find(SIGNALS, origin.removeprefix(_PREFIX))
                if rule is not None:
                    yield place.ruled(node, what, rule, Section.SIGNALS)
            elif origin.startswith(f"{APP}.on_"):
                rule = find(OF_APP, origin.removeprefix(f"{APP}."))
                if rule is not None:
                    yield place.finding(node, what, rule.advice, BEAT, Section.APP)


def _connected(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what connects a receiver (``signal.connect``, ``receiver(signal)``), and the signal."""
    if isinstance(node, ast.Attribute) and node.attr in ("connect", "connect_via"):
        yield node, node.value
    elif isinstance(node, ast.Call) and name_of(node.func).endswith("receiver") and node.args:
        first = node.args[0]
        several = first.elts if isinstance(first, ast.List | ast.Tuple) else [first]
        yield from ((node.func, signal) for signal in several)
