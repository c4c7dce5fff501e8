"""How a worker sleeps."""

from __future__ import annotations

import os
import resource

from django_jobs.worker.wakeup import readable


def test_descriptors_may_have_any_number() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2_048), limits[1]))
    read, write = os.pipe()
    high = os.dup2(read, 1_500)
    try:
        assert readable([read, high], 0.0) == set()
        os.write(write, b"!")
        assert readable([read, high], 60.0) == {read, high}
    finally:
        for descriptor in (read, write, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
