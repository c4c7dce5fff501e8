"""Starts under rate limits: when the next job of a key may start, in sliding windows."""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from ..db import clock
from ..db.chunks import chunks
from ..define.rates import Window
from ..models import Job, LimitLock, Reservation

# An admitted job must start within this part of its shortest window, or it is released. The window
# counts from the latest moment at which it may start.
_SLACK, _LONGEST_SLACK = 0.05, 1.0
# A recorded start may differ from the real one by a round trip.
_SKEW_SECONDS = 0.02
# A job may come this much later for its slot before the jobs behind it move up.
_LATE_SECONDS = 0.03


class Line:
    """The starts and the slots of jobs under the rate limit of one key, which is locked.

    A job starts, or gets a slot, after all jobs in line before it. Times are seconds since 1970.
    They are the latest possible ones, so no window is ever too full.
    """

    def __init__(self, key: str, windows: Sequence[Window]) -> None:
        self.key = key
        self.windows = windows
        self.slack = min(_LONGEST_SLACK, _SLACK * min(window.seconds for window in windows))
        #: Starts of the jobs before the current one, in order.
        self.before: list[float] = []
        #: Slots that are not among them yet, by their ids.
        self.ahead: list[tuple[int, float]] = []
        self.own: dict[UUID, int] = {}
        self.started: dict[UUID, float] = {}
        self.reserved: dict[UUID, float] = {}

    @property
    def most(self) -> int:
        return max(window.starts for window in self.windows)

    @property
    def longest(self) -> float:
        return max(window.seconds for window in self.windows)

    def slot(self, job_id: UUID, now: float) -> float:
        """Return the earliest time from *now* at which the windows let the job start."""
        self._advance(self.own.get(job_id, math.inf))
        times = [
            self.before[-window.starts] + window.seconds
            for window in self.windows
            if len(self.before) >= window.starts
        ]
        return max(now, *times) if times else now

    def start(self, job_id: UUID, now: float) -> None:
        self._put(self.started, job_id, now + self.slack + _SKEW_SECONDS)

    def reserve(self, job_id: UUID, slot: float) -> None:
        self._put(self.reserved, job_id, slot + self.slack + _SKEW_SECONDS + _LATE_SECONDS)

    def _put(self, where: dict[UUID, float], job_id: UUID, at: float) -> None:
        where[job_id] = at
        insort(self.before, at)

    def _advance(self, number: float) -> None:
        passed = 0
        for reservation, at in self.ahead:
            if reservation > number:
                break
            passed += 1
            if reservation != number:
                insort(self.before, at)
        del self.ahead[:passed]


def lines(
    wanted: Mapping[str, tuple[Sequence[Window], Collection[UUID]]], now: float, using: str
) -> dict[str, Line]:
    """Return the line of each key, which is locked, for the jobs that were claimed."""
    found = {key: Line(key, windows) for key, (windows, _ids) in wanted.items()}
    rows = Reservation.objects.using(using)
    ids = {job_id for _windows, jobs in wanted.values() for job_id in jobs}
    own = rows.filter(job_id__in=ids, started=False)
    for number, key, job_id in own.values_list("id", "key", "job_id"):
        if key in found:
            found[key].own[job_id] = number
    by_longest: dict[float, list[str]] = defaultdict(list)
    for line in found.values():
        by_longest[line.longest].append(line.key)
    for longest, keys in by_longest.items():
        started = rows.filter(key__in=keys, started=True)
        started.filter(at__lte=now - longest)._raw_delete(using)
        for key, at in started.order_by("at").values_list("key", "at"):
            found[key].before.append(at)
    for key in _with_slots(found, using):
        _read_slots(found[key], len(wanted[key][1]), using)
    return found


def _with_slots(keys: Collection[str], using: str) -> list[str]:
    slots = Reservation.objects.using(using).filter(key=OuterRef("key"), started=False)
    locks = LimitLock.objects.using(using).filter(Exists(slots), key__in=keys)
    return list(locks.values_list("key", flat=True))


def _read_slots(line: Line, coming: int, using: str) -> None:
    """Read the slots before the claimed jobs, at most as many as a window holds.

    Slots of jobs that will not start go to other jobs.
    """
    slots = Reservation.objects.using(using).filter(key=line.key, started=False).order_by("-id")
    while True:
        read: dict[int, tuple[float, UUID]] = {}
        if line.own:
            mine = slots.filter(id__lte=max(line.own.values()))
            _read(read, mine.values_list("id", "at", "job_id")[: line.most + len(line.own)])
        if len(line.own) < coming:
            _read(read, slots.values_list("id", "at", "job_id")[: line.most])
        jobs = {job_id for _at, job_id in read.values()} - line.own.keys()
        unused = jobs - _startable(jobs, using)
        if not unused:
            line.ahead = sorted((number, at) for number, (at, _job_id) in read.items())
            return
        slots.filter(job_id__in=unused)._raw_delete(using)


def _read(read: dict[int, tuple[float, UUID]], rows: Iterable[tuple[int, float, UUID]]) -> None:
    read.update((number, (at, job_id)) for number, at, job_id in rows)


def _startable(ids: Collection[UUID], using: str) -> set[UUID]:
    """Return which of these jobs have not ended, and have not expired."""
    jobs = Job.objects.using(using).live().filter(id__in=ids)
    lasting = jobs.filter(Q(expires_at=None) | Q(expires_at__gt=clock(using)))
    return set(lasting.values_list("id", flat=True))


def save(lines: Iterable[Line], claims: Mapping[UUID, int], using: str) -> None:
    """Write which jobs started, with their numbers of claims, and which got a slot."""
    rows = Reservation.objects.using(using)
    new: list[Reservation] = []
    moved: list[Reservation] = []
    begun: dict[tuple[float, int], list[int]] = defaultdict(list)
    for line in lines:
        for job_id, at in line.started.items():
            number = claims[job_id]
            if job_id in line.own:
                begun[at, number].append(line.own[job_id])
            else:
                start = Reservation(key=line.key, job_id=job_id, at=at, started=True)
                start.claims = number
                new.append(start)
        for job_id, at in line.reserved.items():
            if job_id in line.own:
                moved.append(Reservation(id=line.own[job_id], at=at))
            else:
                new.append(Reservation(key=line.key, job_id=job_id, at=at))
    for (at, number), ids in begun.items():
        rows.filter(id__in=ids).update(started=True, at=at, claims=number)
    if moved:
        rows.bulk_update(moved, ["at"], batch_size=500)
    if new:
        rows.bulk_create(new)


def keys_of(ids: Collection[UUID], using: str) -> set[str]:
    """Return the keys under which jobs started."""
    keys: set[str] = set()
    for chunk in chunks(list(ids)):
        started = Reservation.objects.using(using).filter(job_id__in=chunk, started=True)
        keys.update(started.values_list("key", flat=True))
    return keys


def take_back(claims: Collection[tuple[UUID, int]], using: str) -> None:
    """Turn the starts of admitted jobs that did not begin back into slots.

    *claims* are pairs of a job's id and its number of claims. The limits of the starts are locked.
    Starts of earlier claims stay.
    """
    rows = Reservation.objects.using(using).filter(started=True)
    for chunk in chunks([job_id for job_id, _number in claims]):
        found = rows.filter(job_id__in=chunk).values_list("id", "job_id", "claims")
        numbers = [number for number, *claim in found if tuple(claim) in claims]
        Reservation.objects.using(using).filter(id__in=numbers).update(started=False)
