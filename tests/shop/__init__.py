"""The shop of the tutorial: the code of its models, its job and its tests is that of the page."""

from __future__ import annotations

from typing import Any

from tests.pages import DOCS, blocks

PAGE = DOCS / "order_tutorial.rst"


def run_page(name: str, namespace: dict[str, Any]) -> None:
    """Run the block of the page for ``shop/name.py`` in the namespace of a module."""
    (block,) = [b for b in blocks(PAGE) if b.text.startswith(f"# shop/{name}.py\n")]
    # Numbered as in the page, so that a traceback leads there.
    source = "\n" * (block.line - 1) + block.text
    exec(compile(source, str(PAGE), "exec", dont_inherit=True), namespace)
