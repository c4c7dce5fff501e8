"""Jobs of the demo site that run inline, and an import that is quick."""

import pytest
from pytest_django import Settings

from testproject.airports import jobs as airport_jobs
from testproject.airports import source
from testproject.airports.models import Airport


@pytest.fixture
def eager(settings: Settings) -> None:
    settings.DJANGO_JOBS = {"EAGER": True}


@pytest.fixture(autouse=True)
def local(settings: Settings, tmp_path) -> None:
    settings.MAIL_DIR, settings.DEBUG = tmp_path, True


@pytest.fixture
def few_airports(monkeypatch: pytest.MonkeyPatch) -> list[Airport]:
    """An import of six airports, in chunks of four."""
    codes = {"KJFK", "EGLL", "LFPG", "SCIP", "YSSY", "NZAA"}
    few = [airport for airport in source.airports() if airport.code in codes]
    monkeypatch.setattr(source, "airports", lambda: few)
    monkeypatch.setattr(airport_jobs, "CHUNK", 4)
    return few
