"""The tests of the tutorial."""

from . import run_page

run_page("tests", globals())
