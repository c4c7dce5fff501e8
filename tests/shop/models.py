"""The models of the tutorial."""

from . import run_page

run_page("models", globals())
