"""Several processes share a terminal: whose line is whose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.management.terminal import Output, Terminal

pytestmark = pytest.mark.once


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def terminal(written: list[str]) -> Terminal:
    return Terminal(["site", "worker"], written.append, in_colour=False)


def test_each_line_has_the_name_of_its_process(terminal: Terminal, written: list[str]) -> None:
    terminal.show("site", "one\ntwo\n")
    terminal.show("worker", "three\n")
    assert "".join(written) == "site   | one\nsite   | two\nworker | three\n"


def test_part_of_a_line_is_ended_before_another_process_speaks(
    terminal: Terminal, written: list[str]
) -> None:
    terminal.show("site", "(Pdb) ")
    terminal.show("site", "3\n(Pdb) ")
    terminal.show("worker", "ready\n")
    assert "".join(written) == "site   | (Pdb) 3\nsite   | (Pdb) \nworker | ready\n"


def test_names_have_colours_only_if_wanted(written: list[str]) -> None:
    Terminal(["site", "worker"], written.append, in_colour=True).show("worker", "x\n")
    assert written == ["\x1b[36mworker | \x1b[0m", "x\n"]


@pytest.fixture
def pipe(terminal: Terminal) -> Iterator[tuple[Output, Any]]:
    read, write = os.pipe()
    file = os.fdopen(write, "wb", buffering=0)
    output = Output("site", read, terminal)
    yield output, file
    file.close()
    output.close()


def test_line_is_shown_when_it_is_complete(pipe: Any, written: list[str]) -> None:
    output, file = pipe
    file.write(b"one\ntw")
    output.forward()
    assert "".join(written) == "site   | one\n"
    file.write("o ü\n".encode()[:-2])
    output.forward()
    file.write("ü\n".encode()[1:])
    output.forward()
    assert "".join(written) == "site   | one\nsite   | two ü\n"


def test_prompt_is_shown_when_nothing_follows(pipe: Any, written: list[str]) -> None:
    output, file = pipe
    file.write(b"(Pdb) ")
    output.forward()
    assert written == []
    output.forward()
    assert "".join(written) == "site   | (Pdb) "


def test_end_shows_what_is_left(pipe: Any, written: list[str]) -> None:
    output, file = pipe
    file.write(b"done\nexit")
    file.close()
    output.close()
    assert "".join(written) == "site   | done\nsite   | exit"
    assert output.is_closed
    output.forward()
