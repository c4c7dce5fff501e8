"""Reads the rows and the ledger after a run, and says which invariants hold.

The rows are the engine's. The ledger is the bodies' (:mod:`tests.torture.ledger`). Between them
stands the trail: a trigger writes each change of a job's status in the transaction that makes it.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture import ledger

ENDED = ("SUCCESS", "FAILURE", "REVOKED")
#: Marks a line of the table whose invariant does not hold.
WRONG = "<-- WRONG"

_TABLES = """
CREATE TABLE torture_trail (
    number {serial}, job_id varchar(36) NOT NULL, old varchar(9) NOT NULL, new varchar(9) NOT NULL,
    old_claims integer NOT NULL, new_claims integer NOT NULL, crashed integer NOT NULL
);
CREATE TABLE torture_effects (number {serial}, job_id varchar(36) NOT NULL);
CREATE TABLE torture_orders (number {serial}, job_id varchar(36) NOT NULL)
"""
_INSERT = """
    INSERT INTO torture_trail (job_id, old, new, old_claims, new_claims, crashed)
    VALUES ({id}, OLD.status, NEW.status, OLD.claims, NEW.claims,
            CASE WHEN NEW.crashes > OLD.crashes THEN 1 ELSE 0 END)
"""
_SERIAL = {
    "postgresql": "bigserial PRIMARY KEY",
    "mysql": "bigint AUTO_INCREMENT PRIMARY KEY",
    "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
}
_ON_UPDATE = "CREATE TRIGGER torture_follow AFTER UPDATE ON django_jobs_job FOR EACH ROW"
_CHANGED = "OLD.status <> NEW.status OR OLD.claims <> NEW.claims"
_FUNCTION = "CREATE FUNCTION torture_follow() RETURNS trigger LANGUAGE plpgsql AS"
_TRIGGERS = {
    "postgresql": [
        f"{_FUNCTION} $$ BEGIN {_INSERT.format(id='NEW.id::text')}; RETURN NULL; END $$",
        f"{_ON_UPDATE} WHEN ({_CHANGED}) EXECUTE FUNCTION torture_follow()",
    ],
    "mysql": [f"{_ON_UPDATE} IF {_CHANGED} THEN {_INSERT.format(id='NEW.id')}; END IF"],
    "sqlite": [f"{_ON_UPDATE} WHEN {_CHANGED} BEGIN {_INSERT.format(id='NEW.id')}; END"],
}


def prepare() -> None:
    """Make the tables of the trail and of effects, and the trigger."""
    make_tables()
    follow()


def make_tables() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in _TABLES.format(serial=_SERIAL[connection.vendor]).split(";"):
            cursor.execute(statement)


def follow() -> None:
    """Make the trigger; a migration may make the table anew, without it."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in _TRIGGERS[connection.vendor]:
            cursor.execute(statement)


def remove() -> None:
    """Undo :func:`prepare`."""
    from django.db import connection

    drop = "FUNCTION torture_follow CASCADE" if connection.vendor == "postgresql" else None
    with connection.cursor() as cursor:
        cursor.execute(f"DROP {drop or 'TRIGGER torture_follow'}")
        for table in ("trail", "effects", "orders"):
            cursor.execute(f"DROP TABLE torture_{table}")


class Line(NamedTuple):
    """A line of the table: what was counted, and whether it is a fault."""

    what: str
    value: str
    is_wrong: bool = False


@dataclasses.dataclass
class Story:
    """What the ledger has of one job."""

    starts: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    ends: list[tuple[float, int, str | None]] = dataclasses.field(default_factory=list)
    overlaps: list[int] = dataclasses.field(default_factory=list)


class Evidence:
    """The rows, the trail and the ledger of a run."""

    def __init__(self, path: Path, zombies: Iterable[int] = ()) -> None:
        from django.db import connection

        from django_jobs.models import Attempt, Job

        self.stories: dict[str, Story] = defaultdict(Story)
        self.acknowledged: list[str] = []
        self.unsure = 0
        self.killed: dict[int, float] = {}
        #: From when to when the database, or one of its servers, was away.
        self.crashes: list[tuple[float, float]] = []
        self.zombies = set(zombies)
        self.faults = 0
        if path.exists():
            for line in ledger.read(path):
                self._take(line)
        columns = ("pk", "status", "worker_id", "claims", "name", "error_class", "error_message")
        self.rows = {str(row[0]): row for row in Job.objects.values_list(*columns)}
        self.attempts = [
            (str(job), claims) for job, claims in Attempt.objects.values_list("job_id", "claims")
        ]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM torture_trail ORDER BY number")
            self.trail = [(str(uuid.UUID(row[1])), *row[2:]) for row in cursor.fetchall()]
            cursor.execute("SELECT job_id FROM torture_effects")
            self.effects = Counter(job_id for (job_id,) in cursor.fetchall())

    def _take(self, line: dict[str, Any]) -> None:
        match line:
            case {"kind": "ack", "id": job_id}:
                self.acknowledged.append(job_id)
            case {"kind": "unsure"}:
                self.unsure += 1
            case {"kind": "start", "id": job_id}:
                self.stories[job_id].starts.append((line["t"], line["pid"]))
            case {"kind": "end", "id": job_id}:
                self.stories[job_id].ends.append((line["t"], line["pid"], line["error"]))
            case {"kind": "overlap", "id": job_id}:
                self.stories[job_id].overlaps.append(line["pid"])
            case {"kind": "killed", "victim": pid}:
                self.killed[pid] = line["t"]
            case {"kind": "crash"}:
                self.crashes.append((line.get("since", line["t"]), line["t"]))
            case {"kind": "fault"}:
                self.faults += 1

    @functools.cached_property
    def _last_words(self) -> dict[int, float]:
        """When each process began the body with which it ended.

        The outcomes of the bodies just before it are lost with the process.
        """
        found: dict[int, float] = {}
        for story in self.stories.values():
            for began, pid in story.starts:
                if not any(end[1] == pid and end[0] >= began for end in story.ends):
                    found[pid] = max(began, found.get(pid, 0.0))
        return found

    @staticmethod
    def bodies(path: Path) -> list[float]:
        """Return the times at which bodies began so far."""
        return [line["t"] for line in ledger.read(path) if line["kind"] == "start"]

    def unexplained(self) -> list[str]:
        """Return the jobs whose body started again though nothing had happened to it."""
        return [
            job_id
            for job_id, story in self.stories.items()
            for before, after in zip(story.starts, story.starts[1:], strict=False)
            if not self._explains(story, before, after)
        ]

    def told(self, job_id: str) -> str:
        """Return what the ledger and the trail have of a job, in one line."""
        story = self.stories[job_id]
        first = story.starts[0][0]
        lines = [(began, f"began in {pid}") for began, pid in story.starts]
        lines += [(ended, f"ended in {pid} {error or ''}") for ended, pid, error in story.ends]
        heard = ", ".join(f"{line} at {time - first:.2f} s" for time, line in sorted(lines))
        changes = ", ".join(
            f"{old} {before} to {new} {after}{' crashed' if crashed else ''}"
            for job, old, new, before, after, crashed in self.trail
            if job == job_id
        )
        return f"{job_id}: {heard}; trail (status claims): {changes}"

    def _explains(self, story: Story, before: tuple[float, int], after: tuple[float, int]) -> bool:
        (began, pid), (again, _pid) = before, after
        if pid in self.zombies or began <= self.killed.get(pid, 0.0):
            return True
        if any(began - 1.0 <= end and since <= again for since, end in self.crashes):
            return True
        if began <= self._last_words.get(pid, 0.0) <= again:
            return True
        # Another attempt: it raised, or its process ended by itself before the body did.
        ends = [end for end in story.ends if end[1] == pid and began <= end[0] <= again]
        return not ends or ends[0][2] is not None

    def recoveries(self) -> list[float]:
        """Return how long jobs waited whose process was killed, until they began again."""
        waits = []
        for story in self.stories.values():
            ended = {pid for _t, pid, _error in story.ends}
            for (began, pid), (again, _pid) in zip(story.starts, story.starts[1:], strict=False):
                killed = self.killed.get(pid)
                if killed is not None and began <= killed <= again and pid not in ended:
                    waits.append(again - killed)
        return sorted(waits)


def judge(
    evidence: Evidence,
    *,
    operators: bool = False,
    overlaps_allowed: bool = False,
    codes: Sequence[int] = (),
    logs: Iterable[Path] = (),
) -> list[Line]:
    """Return the table of the invariants that every scenario has."""
    from django_jobs.models import Permit, Worker

    rows, trail = evidence.rows, evidence.trail
    live = {row[2] for row in Worker.objects.live().values_list("id", "pid", "id")}
    statuses = Counter(row[1] for row in rows.values())
    ended = {job for job, _old, new, *_ in trail if new in ENDED}
    pruned = ended - set(rows)
    lost = set(evidence.acknowledged) - set(rows) - pruned
    unended = [job for job, row in rows.items() if row[1] not in ENDED]
    stuck = [job for job in unended if rows[job][1] == "STARTED" and rows[job][2] not in live]
    ends = Counter(job for job, old, new, *_ in trail if new in ENDED and old not in ENDED)
    twice = [job for job, number in ends.items() if number > 1]
    reopened = [job for job, old, new, *_ in trail if old in ENDED and new != old]
    shrunk = [job for job, _old, _new, before, after, _crashed in trail if after < before]
    again = sum(max(0, len(story.starts) - 1) for story in evidence.stories.values())
    unexplained = evidence.unexplained()
    overlaps = [job for job, story in evidence.stories.items() if story.overlaps]
    doubled = [key for key, number in Counter(evidence.attempts).items() if number > 1]
    failed = {row[0] for row in trail if row[2] in ("RETRY", "FAILURE") or row[5]}
    without = failed - {job for job, _claims in evidence.attempts} - pruned
    never = [
        job for job, row in rows.items() if row[1] == "SUCCESS" and not evidence.stories[job].ends
    ]
    half = [
        job
        for job, row in rows.items()
        if row[4].endswith(".effect") and evidence.effects[job] != int(row[1] == "SUCCESS")
    ]
    fenced = sum(path.read_text().count("outcome dropped") for path in logs if path.exists())
    lines = [
        Line("acknowledged", f"{len(set(evidence.acknowledged)):,}; unsure {evidence.unsure}"),
        Line("bodies ran", f"{sum(bool(s.starts) for s in evidence.stories.values()):,}"),
        Line("ended", ", ".join(f"{n:,} {status}" for status, n in sorted(statuses.items()))),
        Line("pruned", f"{len(pruned):,} that had ended"),
        Line("faults", f"{evidence.faults}; {len(evidence.killed)} processes killed, "
             f"{len(evidence.crashes)} ends of the database"),
        bad("I1 lost", lost),
        bad("I1 not ended", unended),
        bad("I1 SUCCESS without a body", never),
        bad("I2 stuck", stuck),
        Line("I3 ended twice", str(len(twice)), bool(twice) and not operators),
        Line("I4 overlapping bodies", str(len(overlaps)), bool(overlaps) and not overlaps_allowed),
        Line("I4 duplicates", "; ".join([
            f"{again - len(unexplained)} explained, {len(unexplained)} not",
            *map(evidence.told, unexplained[:2]),
        ]), bool(unexplained)),
        bad("I5 claims that shrank", shrunk),
        bad("I5 attempts written twice", doubled),
        bad("I5 failures without attempt", without),
        Line("I6 ended, then changed", str(len(reopened)), bool(reopened) and not operators),
        bad("I9 permits left", list(Permit.objects.values_list("job_id", flat=True)[:5])),
        bad("I12 effects unlike the status", half),
        Line("fenced outcomes", str(fenced)),
        Line("I10 exit codes", str(sorted(set(codes)) or "none"), any(codes)),
    ]  # fmt: skip
    if waits := evidence.recoveries():
        middle = statistics.median(waits)
        lines.append(
            Line("recovery", f"{len(waits)}: median {middle:.2f} s, longest {waits[-1]:.2f} s")
        )
    return lines


def bad(what: str, jobs: Iterable[Any]) -> Line:
    """Return the line of what must not be there."""
    found = list(jobs)
    shown = f": {', '.join(map(str, found[:3]))}" if found else ""
    return Line(what, f"{len(found)}{shown}", bool(found))


def limit(what: str, value: float, most: float, unit: str = "") -> Line:
    """Return the line of a figure with a bound."""
    return Line(what, f"{value:.2f}{unit} ({most:g}{unit} allowed)", value > most)


def table(lines: Sequence[Line]) -> str:
    width = max(len(line.what) for line in lines)
    return "\n".join(
        f"  {line.what:{width}}  {line.value}{f'   {WRONG}' if line.is_wrong else ''}"
        for line in lines
    )
