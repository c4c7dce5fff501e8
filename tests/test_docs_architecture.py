"""The diagram of the page "Architecture" leaves no package and no import out."""

from __future__ import annotations

from docs import architecture_diagram
from tests.test_architecture import IMPORTS, MODULES, SEAMS, top


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
