"""Finds the objects of Celery that the names of a project's modules stand for.

A name is followed through imports and assignments to the name that Celery gives it:
``celery.shared_task``, or ``@app.task`` for an attribute of an app.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ....from_celery.names import IMPORTS

#: Packages of Celery and around it.
PACKAGES = {name.partition(".")[0] for rule in IMPORTS for name in rule.names}
_TASKS = {
    "celery.Task", "celery.app.task.Task", "celery.task.Task", "@app.Task",
    "celery.contrib.abortable.AbortableTask", "celery.contrib.django.task.DjangoTask",
    "celery_once.QueueOnce", "celery_singleton.Singleton", "celery_batches.Batches",
}  # fmt: skip
_APPS = {"celery.Celery", "celery.app.Celery", "celery.app.base.Celery",
         "tenant_schemas_celery.app.CeleryApp"}  # fmt: skip
_CURRENT = {"celery.current_app", "celery._state.current_app"}
#: An instance of ``Celery``, whatever its name.
APP = "@app"
# Imports that lead in a circle end here.
_FARTHEST = 20


class Module:
    """A module of the project; its path is relative to the folder that is searched."""

    def __init__(self, file: str, path: str, tree: ast.Module) -> None:
        #: Its name in findings.
        self.file = file
        self.body = tree.body
        #: All nodes of the tree.
        self.nodes = list(ast.walk(tree))
        parts = path.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        #: The full name behind each name that the module imports.
        self.imports: dict[str, str] = {}
        self.import_lines: list[tuple[ast.Import | ast.ImportFrom, str, str]] = []
        self.classes: dict[str, ast.ClassDef] = {}
        self.values: dict[str, ast.expr] = {}
        for node in self.nodes:
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                self.imports[local] = alias.name if alias.asname else local
                self.import_lines.append((node, alias.name, local))
        elif isinstance(node, ast.ImportFrom):
            base = self._base(node)
            for alias in node.names:
                local = alias.asname or alias.name
                self.imports[local] = f"{base}.{alias.name}"
                self.import_lines.append((node, f"{base}.{alias.name}", local))
        elif isinstance(node, ast.ClassDef):
            self.classes[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    self.values.setdefault(target.id, node.value)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".") if self.name else []
        up = node.level - self.is_package
        kept = parts[: len(parts) - up] if up else parts
        return ".".join([*kept, *([node.module] if node.module else [])])


class Symbols:
    """The modules of a project, and the names that they give to each other."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = list(modules)
        self._by_name: dict[str, Module] = {}
        for module in self.modules:
            parts = module.name.split(".")
            # The folder that Python imports from may be any of those above the module.
            for start in range(len(parts)):
                self._by_name.setdefault(".".join(parts[start:]), module)
        for module in self.modules:
            self._by_name[module.name] = module

    def is_library(self, dotted: str) -> bool:
        """Return whether an absolute import of *dotted* is that of Celery or a package around it.

        ``celery`` is Celery beside a ``shop/celery.py``.
        """
        package = dotted.partition(".")[0]
        own = self.module(package)
        return package in PACKAGES and (own is None or own.name != package)

    def module(self, name: str) -> Module | None:
        return self._by_name.get(name)

    def origin(self, module: Module, node: ast.AST, depth: int = 0) -> str:
        """Return Celery's name for what *node* stands for, or an empty text."""
        if depth > _FARTHEST:
            return ""
        if isinstance(node, ast.Name):
            return self._named(module, node.id, depth + 1)
        if isinstance(node, ast.Attribute):
            if node.attr == "app" and isinstance(node.value, ast.Name) and node.value.id == "self":
                return APP
            base = self.origin(module, node.value, depth + 1) or _dotted(module, node.value, depth)
            return self._full(f"{base}.{node.attr}", depth) if base else ""
        if isinstance(node, ast.Call) and self.origin(module, node.func, depth + 1) in _APPS:
            return APP
        return ""

    def is_task(self, module: Module, node: ast.AST) -> bool:
        """Return whether *node* is a class of tasks, Celery's or one of the project's."""
        return self.origin(module, node) in _TASKS

    def _named(self, module: Module, name: str, depth: int) -> str:
        if name in module.imports:
            return self._full(module.imports[name], depth)
        if name in module.classes:
            bases = (self.origin(module, base, depth + 1) for base in module.classes[name].bases)
            return next((base for base in bases if base in _TASKS | _APPS), "")
        if name in module.values:
            value = module.values[name]
            return self.origin(module, value, depth + 1) if name != getattr(value, "id", "") else ""
        return ""

    def _full(self, dotted: str, depth: int) -> str:
        """Follow the full name *dotted* through the project's modules."""
        parts = dotted.split(".")
        if parts[0] == APP or depth > _FARTHEST:
            return dotted if parts[0] == APP else ""
        for length in range(len(parts), 0, -1):
            module = self.module(".".join(parts[:length]))
            if module is not None and not self.is_library(parts[0]):
                if length == len(parts):
                    return ""
                found = self._named(module, parts[length], depth + 1)
                return ".".join([found, *parts[length + 1 :]]) if found else ""
        for name in _CURRENT:
            if dotted == name or dotted.startswith(f"{name}."):
                return f"{APP}{dotted.removeprefix(name)}"
        return dotted if parts[0] in PACKAGES or parts[0] == "django_jobs" else ""


def _dotted(module: Module, node: ast.AST, depth: int) -> str:
    """Return the full name of an imported module or of its attribute, or an empty text."""
    if isinstance(node, ast.Name):
        return module.imports.get(node.id, "")
    if isinstance(node, ast.Attribute) and depth <= _FARTHEST:
        base = _dotted(module, node.value, depth + 1)
        return f"{base}.{node.attr}" if base else ""
    return ""


def uses(module: Module, name: str) -> Iterator[int]:
    """Yield the lines on which *module* uses a name that it imports."""
    for node in module.nodes:
        if isinstance(node, ast.Name) and node.id == name:
            yield node.lineno
