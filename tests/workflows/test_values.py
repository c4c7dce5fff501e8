"""What canvases result in: by workers over rows, and run here and now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import chord, group
from django_jobs.models import Job
from tests.workflows.jobs import add, become, fail, ignore, mul, same, total, widen

pytestmark = pytest.mark.django_db

CASES = [
    (lambda: add.s(1) | add.s(2) | mul.s(3), 9),
    (lambda: group(add.s(1), add.s(2)), [1, 2]),
    (lambda: chord([add.s(1), add.s(2)], total.s()), 3),
    (lambda: add.s(1) | group(add.s(1), add.s(2)), [2, 3]),
    (lambda: add.s(1) | group(add.s(1), add.s(2)) | total.s(5), 10),
    (lambda: group(add.s(1) | add.s(1), group(add.s(3), add.s(4))) | same.s(), [2, [3, 4]]),
    (lambda: group() | same.s(), []),
    (lambda: add.s(1) | group() | same.s(), []),
    (lambda: group(add.s(1), add.s(2)) | group(total.s(), same.s()) | same.s(), [3, [1, 2]]),
    (lambda: chord([add.s(1)], total.s()) | add.s(4), 5),
    (lambda: add.s(1) | fail.si() | add.s(1), ValueError),
    (lambda: chord([add.s(1), fail.s()], total.s() | add.s(1)), ValueError),
    (lambda: add.s(1) | ignore.s() | same.s(), None),
    (lambda: add.map([1, 2]) | same.s(), [1, 2]),
    (lambda: add.starmap([(1, 2), (3, 4)]), [3, 7]),
    (lambda: add.chunks([(1, 2), (3, 4), (5, 6)], 2), [[3, 7], [11]]),
    (lambda: become.si(add.s(1, 2)) | add.s(1), 4),
    (lambda: become.si(add.s(1, 2) | add.s(1)) | add.s(1), 5),
    (lambda: become.si(group(add.s(1), add.s(2))) | total.s(), 3),
    (lambda: become.si(become.si(chord([add.s(1), add.s(2)], total.s()))) | add.s(1), 4),
    (lambda: group(widen.s(1, add.s(5)), add.s(2)) | same.s(), [1, 2, 5]),
]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(("make", "wanted"), CASES)
def test_canvas_results_in(
    make: Callable[[], Any], wanted: Any, eager: bool, drain: Callable[..., Any]
) -> None:
    canvas = make()
    result = canvas.apply() if eager else canvas.apply_async()
    drain()
    assert not Job.objects.live().exists()
    if isinstance(wanted, type):
        with pytest.raises(wanted):
            result.get(timeout=0)
    else:
        assert result.get(timeout=0) == wanted
