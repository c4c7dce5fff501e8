"""How the steps of one job function went in its newest jobs."""

from __future__ import annotations

import dataclasses
import datetime

from ..models import Step

#: Only the newest steps of all job functions are read, and so many of one function.
MOST_READ, MOST_OF_ONE = 5_000, 2_000

State = Step.State


@dataclasses.dataclass(slots=True)
class StepNumbers:
    """The newest uses of one step; the durations are those of the uses that are done."""

    kind: str
    #: The called function. The uses of another kind are counted together.
    function: str
    done: int = 0
    #: It raised, and is not done yet.
    failed: int = 0
    waiting: int = 0
    durations: list[datetime.timedelta] = dataclasses.field(default_factory=list)

    def percentile(self, share: float) -> datetime.timedelta | None:
        """Return the duration that this *share* of the uses, 0 to 1, took at most."""
        if not self.durations:
            return None
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def step_numbers(name: str, using: str) -> list[StepNumbers]:
    """Return the numbers of each step of the job function *name*, in the order of their use."""
    newest = Step.objects.using(using).order_by("-pk")
    oldest = newest.values_list("pk", flat=True)[MOST_READ : MOST_READ + 1].first()
    rows = newest.filter(job__name=name)
    if oldest is not None:
        rows = rows.filter(pk__gt=oldest)
    found: dict[tuple[str, str], StepNumbers] = {}
    places: dict[tuple[str, str], int] = {}
    columns = ("kind", "function", "position", "state", "began_at", "ended_at")
    for kind, function, position, state, began, ended in rows.values_list(*columns)[:MOST_OF_ONE]:
        key = kind, function if kind == Step.Kind.CALL else ""
        numbers = found.setdefault(key, StepNumbers(*key))
        places[key] = min(position, places.get(key, position))
        if state == State.DONE:
            numbers.done += 1
            if began and ended:
                numbers.durations.append(ended - began)
        elif state in (State.FAILED, State.RETRY):
            numbers.failed += 1
        else:
            numbers.waiting += 1
    return [found[key] for key in sorted(found, key=lambda key: (places[key], key))]
