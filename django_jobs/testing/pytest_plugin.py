"""The plugin for pytest: the fixtures ``jobs`` and ``live_worker``.

pytest imports it in every project of the environment. It imports nothing of Django before a test
asks for one of the fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .captured import CapturedJobs, EnqueuedJob
    from .live import LiveWorker
    from .running import RanJob


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "live_worker(*arguments): arguments of runworker for the fixture live_worker"
    )


class Jobs:
    """The helpers of :mod:`django_jobs.testing`, as the fixture ``jobs`` has them."""

    def run(self, *args: Any, **kwargs: Any) -> list[RanJob]:
        """Run ready jobs; see :func:`django_jobs.testing.run_jobs`."""
        from .running import run_jobs

        return run_jobs(*args, **kwargs)

    async def arun(self, *args: Any, **kwargs: Any) -> list[RanJob]:
        """Asynchronous twin of :meth:`run`."""
        from .running import arun_jobs

        return await arun_jobs(*args, **kwargs)

    def captured(self, *, write: bool = True) -> AbstractContextManager[CapturedJobs]:
        """Capture what is enqueued; see :func:`django_jobs.testing.captured_jobs`."""
        from .captured import captured_jobs

        return captured_jobs(write=write)

    def assert_enqueued(self, *args: Any, **kwargs: Any) -> list[EnqueuedJob]:
        """See :func:`django_jobs.testing.assert_enqueued`."""
        from .assertions import assert_enqueued

        return assert_enqueued(*args, **kwargs)

    def assert_not_enqueued(self, *args: Any, **kwargs: Any) -> None:
        """See :func:`django_jobs.testing.assert_not_enqueued`."""
        from .assertions import assert_not_enqueued

        assert_not_enqueued(*args, **kwargs)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """Run and assert jobs. ``EAGER`` is off meanwhile: nothing runs before ``jobs.run()``."""
    _need_django_jobs()
    from .overriding import override_jobs

    with override_jobs(EAGER=False):
        yield Jobs()


@pytest.fixture
def live_worker(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[LiveWorker]:
    """Run a real worker beside the test, with the arguments of the marker ``live_worker``."""
    _need_django_jobs()
    from .live import live_worker

    marker = request.node.get_closest_marker("live_worker")
    with live_worker(*(marker.args if marker else ()), **(marker.kwargs if marker else {})) as it:
        yield it


def _need_django_jobs() -> None:
    from django.apps import apps
    from django.conf import settings

    if not settings.configured or not apps.ready:
        pytest.fail(
            "Django is not set up. Install pytest-django and set DJANGO_SETTINGS_MODULE.",
            pytrace=False,
        )
    if not apps.is_installed("django_jobs"):
        pytest.fail("INSTALLED_APPS lacks 'django_jobs'. Add it.", pytrace=False)
