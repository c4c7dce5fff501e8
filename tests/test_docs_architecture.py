"""The page "Architecture" names files that exist, and its diagram leaves no package out."""

from __future__ import annotations

import re

from docs import architecture_diagram
from tests.pages import DOCS, ROOT
from tests.test_architecture import IMPORTS, MODULES, PACKAGE, SEAMS, top


def test_architecture_names_files_that_exist() -> None:
    text = (DOCS / "architecture.rst").read_text()
    names = set(re.findall(r"``([\w/]+(?:\.py|/))``", text))
    assert len(names) > 50
    known = {name for name in names for folder in (PACKAGE, ROOT) if (folder / name).exists()}
    assert names - known == set()


def test_architecture_names_functions_that_exist() -> None:
    text = (DOCS / "architecture.rst").read_text()
    table = text[text.index("Where is …?") : text.index("The way of a job")]
    found = re.findall(r"``([\w/]+\.py)``: ((?:``\w+\(\)``(?:, )?)+)", table)
    assert len(found) >= 4
    for file, functions in found:
        source = (PACKAGE / file).read_text()
        for function in re.findall(r"(\w+)\(", functions):
            assert f"def {function}(" in source, file


def test_diagram_has_every_package_and_its_first_line() -> None:
    drawn = architecture_diagram.svg()
    for name in {top(module) for module in MODULES}:
        assert f">{name}</text>" in drawn
        assert architecture_diagram.first_line(name), f"{name} has no docstring"


def test_diagram_has_every_import_as_an_arrow_or_as_its_consequence() -> None:
    following: dict[str, set[str]] = {top(module): set() for module in MODULES}
    for name, other in architecture_diagram.arrows():
        following[name].add(other)

    def reached(name: str) -> set[str]:
        return following[name].union(*map(reached, following[name]))

    for module, others in IMPORTS.items():
        for other in others:
            if top(other) != top(module) and (module, other) not in SEAMS:
                assert top(other) in reached(top(module))
