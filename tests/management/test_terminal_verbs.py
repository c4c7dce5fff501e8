"""What ``manage.py jobs`` does for people at a terminal: help, filters, previews, colours, keys."""

from __future__ import annotations

import datetime
import io
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.core.management.color import color_style
from django.utils import timezone

from django_jobs.define.envelopes import MARK
from django_jobs.ids import uuid7
from django_jobs.management.jobs import output, progress, top
from django_jobs.management.jobs.job_filters import moment
from django_jobs.management.jobs.progress import Progress
from django_jobs.metrics import cache
from django_jobs.models import Job
from django_jobs.status import Status
from django_jobs.workflows.upstream import UPSTREAM_FAILED
from tests.encryption.conftest import NEW
from tests.management.test_jobs import jobs, jobs_json, make

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# --- help ---------------------------------------------------------------------------------------


def test_bare_command_prints_its_help() -> None:
    text = jobs()
    assert text.startswith("usage: ")
    assert "retry" in text


@pytest.mark.parametrize(
    ("line", "meant"),
    [(["lst"], "'list'"), (["inspect", "activ"], "'active'"), (["control", "growe"], "'grow'"),
     (["token", "mak"], "'make'")],
)  # fmt: skip
def test_mistyped_verb_suggests_a_known_one(line: list[str], meant: str) -> None:
    with pytest.raises(CommandError, match=f"invalid choice.* Did you mean {meant}"):
        jobs(*line)


# --- filters ------------------------------------------------------------------------------------


def chosen(*arguments: object) -> set[str]:
    return {row["id"] for row in jobs_json("list", *arguments)}


def test_filters_choose_jobs(registered: Any) -> None:
    old = timezone.now() - datetime.timedelta(days=8)
    row = make(Status.FAILURE, enqueued_at=old, error_class="x.Gone", error_message="no such user")
    other = make(Status.FAILURE, error_class="x.Slow", name="tests.jobs.echo", args=[], kwargs={})
    assert chosen("--error", "gone") == chosen("--error", "SUCH user") == {str(row.pk)}
    assert chosen("--older-than", "7d") == {str(row.pk)}
    assert chosen("--since", "7d") == {str(other.pk)}
    assert chosen("--since", old.date() + datetime.timedelta(days=1)) == {str(other.pk)}
    assert chosen("--name", "ECH") == {str(other.pk)}
    assert chosen("--args", "a=1") == chosen("--args", "a=1", "--args", "b=2") == {str(row.pk)}
    assert chosen("--args", "a=2") == chosen("--args", "password=1") == set()
    with pytest.raises(CommandError, match="--args must be NAME=VALUE"):
        jobs("list", "--args", "a")
    with pytest.raises(CommandError, match="--args a has 1001 characters; at most 1000 can be"):
        jobs("list", "--args", f"a={'é' * 1_001}")


def test_whole_name_of_a_function_is_not_a_part(registered: Any) -> None:
    make(name="tests.jobs.add_async")
    row = make(name="tests.jobs.add")
    assert chosen("--name", "tests.jobs.add") == {str(row.pk)}
    assert len(chosen("--name", "jobs.add")) == 2


@pytest.mark.once
@pytest.mark.parametrize("text", ["7", "7y", "yesterday", "2026-13-01", "9999999999d", "-1h"])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="must be") as caught:
        moment(text)
    assert type(caught.value).__name__ == "ArgumentTypeError"


def test_id_may_be_its_first_digits() -> None:
    row, other = make(id=uuid.UUID("01890000-1111-7abc-8000-000000000001")), make(id=uuid7())
    make(id=uuid.UUID("01890000-1111-7abc-8000-000000000002"), name="tests.jobs.send")
    assert jobs_json("show", str(other.pk)[:23])["id"] == str(other.pk)
    full = str(row.pk)
    assert jobs_json("show", full[:-1] + "1")["id"] == full
    for short in ("01890000", "01890000-1111-7", full[:-1]):
        with pytest.raises(CommandError, match=r"Several ids begin with .*tests\.jobs\.send"):
            jobs("show", short)
    with pytest.raises(CommandError, match="No job has the id 0189f"):
        jobs("show", "0189f")
    with pytest.raises(CommandError, match="4 or more"):
        jobs("show", "018")


# --- previews and progress ----------------------------------------------------------------------


def test_dry_run_changes_nothing() -> None:
    failed, ready = make(Status.FAILURE), make(Status.PENDING)
    text = jobs("retry", failed.pk, ready.pk, "--dry-run")
    assert text.splitlines()[0] == "1 would be retried, skipped: 1 is pending"
    assert "tests.jobs.add" in text
    assert jobs_json("revoke", "--queue", "default", "--dry-run")["revoked"] == 1
    assert jobs_json("move", ready.pk, "--to", "slow", "--dry-run")["moved"] == 1
    assert jobs("purge", "--queue", "default", "--dry-run") == "1 would be deleted\n"
    assert set(Job.objects.values_list("status", "queue")) == {
        ("FAILURE", "default"), ("PENDING", "default"),
    }  # fmt: skip


def test_filters_choose_what_is_changed() -> None:
    old = timezone.now() - datetime.timedelta(days=8)
    row = make(Status.FAILURE, enqueued_at=old)
    make(Status.FAILURE)
    assert jobs("retry", "--older-than", "1w") == "1 retried\n"
    assert Job.objects.get(status=Status.PENDING).pk == row.pk
    with pytest.raises(CommandError, match="Give ids or --error, not both"):
        jobs("retry", row.pk, "--error", "x")


@pytest.mark.once
@pytest.mark.parametrize(("stream", "shown"), [(Terminal, "\r1,500 / 30,625 "), (io.StringIO, "")])
def test_progress_is_shown_at_a_terminal_only(
    stream: type[io.StringIO], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 0.9, 1.1, 1.1, 1.2])
    monkeypatch.setattr("django_jobs.management.jobs.progress.time.monotonic", lambda: next(now))
    out = stream()
    with Progress(30_625, out) as progress:
        progress.advance(500)
        assert out.getvalue() == ""
        progress.advance(1000)
        assert out.getvalue() == shown
    assert out.getvalue() == (shown and f"{shown}\r\x1b[K")


# The doctor reads each file and looks through it afterwards.
@pytest.mark.parametrize(("verb", "steps"), [("reencrypt", 1), ("doctor-celery", 2)])
def test_long_verbs_show_how_far_they_are(
    verb: str, steps: int, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(progress, "_SECONDS", 0)
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "ENCRYPTION_KEYS": [NEW]}
    make(Status.SUCCESS, result={MARK: "gAAAAA"})
    (tmp_path / "shop.py").write_text("import os")
    with suppress(SystemExit):
        jobs(verb, *([str(tmp_path)] if verb == "doctor-celery" else []))
    shown = "".join(f"\r{number} " for number in range(1, steps + 1))
    assert out.getvalue() == f"{shown}\r\x1b[K"


# --- what is printed ----------------------------------------------------------------------------


def test_statuses_are_coloured_on_demand_only() -> None:
    make(Status.FAILURE)
    assert "\x1b" not in jobs("list")
    out = io.StringIO()
    call_command("jobs", "list", stdout=out, force_color=True)
    assert f"{color_style(force_color=True).ERROR('FAILURE')}  " in out.getvalue()


@pytest.mark.once
def test_numbers_are_aligned_at_the_right() -> None:
    out = io.StringIO()
    output.write_table(OutputWrapper(out), ("QUEUE", "JOBS"), [("a", 7), ("b", 12345), ("c", "")])
    assert out.getvalue().splitlines() == ["QUEUE   JOBS", "a          7", "b      12345", "c"]


def test_stats_name_queues_as_other_verbs_do(new_worker: Any) -> None:
    new_worker(queues=[], exclude_queues=["gpu"])
    assert "all queues but gpu" in jobs("stats")


def test_workflow_marks_the_root_cause_and_survives_a_circle() -> None:
    first = make(Status.FAILURE)
    rows = [first]
    for _number in range(1200):  # deeper than Python may recurse
        rows.append(Job(
            name="tests.jobs.add", status=Status.FAILURE, root_id=first.pk,
            parent_id=rows[-1].pk, queue="default", enqueued_at=timezone.now(),
            error_class=UPSTREAM_FAILED,
        ))  # fmt: skip
    Job.objects.bulk_create(rows[1:])
    lines = jobs("workflow", first.pk).splitlines()
    assert [line for line in lines if line.endswith("← root cause")] == [lines[1]]
    assert "201 more" in lines[-1]


# --- top ----------------------------------------------------------------------------------------


def test_top_shows_rates_waits_and_progress(new_worker: Any) -> None:
    cache.clear()
    worker = new_worker(slots=2)
    make(Status.STARTED, worker_id=worker.pk, started_at=timezone.now(),
         progress={"done": 3, "total": 4, "message": "hunter2"})  # fmt: skip
    make(Status.STARTED, worker_id=worker.pk, started_at=timezone.now(), name="tests.a")
    make(Status.SCHEDULED, run_at=timezone.now() + datetime.timedelta(hours=1))
    text = "\n".join(top.frame("default", 200, 100))
    for wanted in ("last minute: 0 ended, 0 failed", "waiting for: time 1", "75%"):
        assert wanted in text
    assert "hunter2" not in text
    oldest, by_job = top.frame("default", 200, 100), top.frame("default", 200, 100, "job")
    names = [line.split()[0] for line in oldest if line.startswith("tests.")]
    assert names == ["tests.jobs.add", "tests.a"]
    assert [line.split()[0] for line in by_job if line.startswith("tests.")] == names[::-1]


@pytest.mark.once
def test_keys_of_top() -> None:
    view = top.View()
    assert not view.press("s")
    assert view.order == "job"
    assert not view.press("ss")
    assert (view.order, view.is_paused) == ("age", False)
    assert not view.press("p")
    assert view.is_paused
    assert view.press("xQ")
