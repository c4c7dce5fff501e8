"""The verbs of ``manage.py jobs`` for jobs, as text and as JSON."""

from __future__ import annotations

import datetime
import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import job, signals
from django_jobs.conf import SETTING
from django_jobs.models import Attempt, Command, Edge, Job, Queue, UniqueKey
from django_jobs.redaction import REDACTED
from django_jobs.status import ENDED, Status
from django_jobs.workflows.upstream import UPSTREAM_FAILED, upstream_message
from tests.jobs import add

pytestmark = pytest.mark.django_db

SECRET = "hunter2-top"


def jobs(*arguments: object) -> str:
    out = io.StringIO()
    call_command("jobs", *map(str, arguments), stdout=out, no_color=True)
    return out.getvalue()


def jobs_json(*arguments: object) -> Any:
    return json.loads(jobs(*arguments, "--json"))


def make(status: str = Status.PENDING, **fields: Any) -> Job:
    now = timezone.now()
    times = {"enqueued_at": now, "ready_at": now}
    if status in ENDED:
        times |= {"started_at": now, "ended_at": now + datetime.timedelta(seconds=2)}
    row = {"name": "tests.jobs.add", "queue": "default", "status": status, "args": [1, 2]}
    return Job.objects.create(**(row | times | fields))


def statuses(*rows: Job) -> list[str]:
    found = dict(Job.objects.values_list("pk", "status"))
    return [found[row.pk] for row in rows]


@pytest.fixture
def secretive(registered: dict[str, Any]) -> str:
    @job(name="secretive", sensitive=("code",))
    def function(user: str, password: str, code: str = "") -> None: ...

    return function.name


# --- list -----------------------------------------------------------------------------------------


def test_list_is_aligned_and_newest_first() -> None:
    first = make(claims=2, retries=1)
    second = make(claims=2, retries=1, queue="a-queue-with-a-long-name")
    title, *lines = jobs("list").splitlines()
    assert [line.split()[0] for line in lines] == [str(second.pk), str(first.pk)]
    for name, text in (("STATUS", "PENDING"), ("JOB", "tests.jobs.add"), ("ATTEMPT", "2/4")):
        assert {line.index(text) for line in lines} == {title.index(name)}


def test_list_filters() -> None:
    wanted = make(Status.FAILURE, queue="mail", name="tests.jobs.send")
    make(Status.FAILURE), make(queue="mail"), make(name="tests.jobs.send")
    both = ("--queue", "mail", "--name", "tests.jobs.send", "--status", "failure")
    assert [row["id"] for row in jobs_json("list", *both)] == [str(wanted.pk)]
    assert len(jobs_json("list", "--limit", 2)) == 2


def test_list_and_show_say_for_what_a_job_waits() -> None:
    result = add.apply_async((1,), queue="gpu")
    why = "no live worker serves queue “gpu” (runworker -Q gpu)"
    assert why in jobs("list")
    assert f"waits     {why}" in jobs("show", result.id)
    kind = {"kind": "no_worker", "queue": "gpu"}
    assert json.loads(jobs("list", "--json"))[0]["waiting"] == kind
    assert json.loads(jobs("show", result.id, "--json"))["waiting"] == kind


def test_list_of_nothing() -> None:
    assert jobs("list") == "No jobs.\n"
    assert jobs_json("list") == []


@pytest.mark.parametrize("wrong", [("--status", "LATER"), ("--limit", "0"), ("--limit", "many")])
def test_list_wrong_option(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=wrong[0]):
        jobs("list", *wrong)


# --- show -----------------------------------------------------------------------------------------


def test_show_prints_everything_about_a_job() -> None:
    row = make(
        Status.FAILURE, error_class="builtins.ValueError", error_message="no such thing", retries=2
    )
    Attempt.objects.create(
        job=row, attempt=1, status="FAILURE", ended_at=timezone.now(),
        error_class="builtins.ValueError", traceback="Traceback (most recent call last):\n  here",
    )  # fmt: skip
    text = jobs("show", row.pk)
    for part in (str(row.pk), "FAILURE", "2/3", "builtins.ValueError: no such thing", "2.0 s"):
        assert part in text
    assert "Traceback (most recent call last):\n  here" in text
    shown = jobs_json("show", row.pk)
    assert (shown["args"], shown["kwargs"], shown["retries"]) == ([1, 2], {}, 2)
    assert shown["attempts"][0]["traceback"].startswith("Traceback")


def test_show_prints_the_key_of_a_fair_queue() -> None:
    text = jobs("show", make(queue="imports", fair_key="00000000:acme").pk)
    assert [line.split() for line in text.splitlines() if "acme" in line] == [["key", "acme"]]
    assert "key" not in jobs("show", make().pk).split()


def test_show_unknown_id() -> None:
    with pytest.raises(CommandError, match="No job has the id 0192") as caught:
        jobs("show", "01920000-0000-7000-8000-000000000000")
    assert caught.value.returncode == 1


def test_show_invalid_id() -> None:
    with pytest.raises(CommandError, match="A job's id must be a UUID, got 'seven'"):
        jobs("show", "seven")


# --- what is never shown --------------------------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_output_is_redacted(secretive: str, how: tuple[str, ...]) -> None:
    row = make(
        Status.SUCCESS, name=secretive, args=["ann", SECRET], kwargs={"code": "12345678"},
        result={"token": "tok-tok-tok", "text": f"it was {SECRET}"}, error_message=SECRET,
    )  # fmt: skip
    for arguments in (("list", *how), ("show", row.pk, *how)):
        text = jobs(*arguments)
        assert not [secret for secret in (SECRET, "12345678", "tok-tok-tok") if secret in text]
        assert "ann" in text
        assert REDACTED in text


def test_output_cannot_control_the_terminal() -> None:
    row = make(Status.FAILURE, name="a\x1b[2Jb", error_message="c\x1b]0;d\x07", queue="e\nf")
    for arguments in (("list",), ("show", row.pk)):
        text = jobs(*arguments)
        assert "\x1b" not in text
        assert "a\\x1b[2Jb" in text
    assert len(jobs("list").splitlines()) == 2


# --- retry and revoke -----------------------------------------------------------------------------


def test_retry_by_id_reports_skipped_jobs() -> None:
    failed, pending = make(Status.FAILURE), make()
    assert jobs("retry", failed.pk, pending.pk) == "1 retried, skipped: 1 is pending\n"
    assert statuses(failed) == ["PENDING"]


def test_retry_of_a_taken_unique_key() -> None:
    UniqueKey.objects.create(key="k", job_id=make(unique_key="k").pk)
    failed = make(Status.FAILURE, unique_key="k")
    told = jobs_json("retry", failed.pk)
    assert told == {"retried": 0, "skipped": {"another live job holds its unique key": 1}}


def test_retry_all_that_match_defaults_to_failures() -> None:
    failed, revoked = make(Status.FAILURE), make(Status.REVOKED)
    elsewhere = make(Status.FAILURE, queue="mail")
    with CaptureQueriesContext(connection) as captured:
        jobs("retry", "--queue", "default")
    assert statuses(failed, revoked, elsewhere) == ["PENDING", "REVOKED", "FAILURE"]
    # Each job failed for a reason of its own.
    assert not [one["sql"] for one in captured if UPSTREAM_FAILED in one["sql"]]
    jobs("retry", "--status", "REVOKED")
    assert statuses(revoked, elsewhere) == ["PENDING", "FAILURE"]


def test_retry_takes_root_causes() -> None:
    cause = make(Status.FAILURE, name="tests.jobs.fail", has_dependents=True)
    failed = make(
        Status.FAILURE, pending_parents=1, error_class=UPSTREAM_FAILED,
        error_message=upstream_message(cause.pk, cause.name, cause.status),
    )  # fmt: skip
    Edge.objects.create(parent=cause, child=failed)
    why = "failed with a job that they depend on, which was retried in their place"
    told = jobs_json("retry", failed.pk, "--dry-run")
    assert (told["functions"], told["skipped"]) == ({"tests.jobs.fail": 1}, {why: 1})
    assert jobs_json("retry", "--queue", "default", "--dry-run") == told
    # The steps of one job are not those of another.
    assert jobs_json("retry", failed.pk, "--from-start")["retried"] == 0
    assert jobs_json("retry", failed.pk) == {"retried": 1, "skipped": {why: 1}}
    assert statuses(cause, failed) == ["PENDING", "WAITING"]


@pytest.mark.parametrize("verb", ["retry", "revoke", "delete"])
def test_bulk_needs_ids_or_a_filter_and_not_both(verb: str) -> None:
    row = make(Status.FAILURE)
    with pytest.raises(CommandError, match="Name the jobs by their ids"):
        jobs(verb)
    with pytest.raises(CommandError, match="Give ids or --queue, not both"):
        jobs(verb, row.pk, "--queue", "default")


@pytest.mark.parametrize("verb", ["retry", "revoke"])
def test_bulk_with_an_unknown_id_changes_nothing(verb: str) -> None:
    row = make(Status.FAILURE if verb == "retry" else Status.PENDING)
    before = statuses(row)
    with pytest.raises(CommandError, match="No job has the id"):
        jobs(verb, row.pk, uuid.uuid4())
    assert statuses(row) == before


def test_revoke_by_id_and_by_filter() -> None:
    one, other, ended = make(), make(Status.SCHEDULED, queue="mail"), make(Status.SUCCESS)
    assert jobs("revoke", one.pk, ended.pk) == "1 revoked, skipped: 1 is success\n"
    assert jobs_json("revoke", "--queue", "mail") == {"revoked": 1, "skipped": {}}
    assert statuses(one, other, ended) == ["REVOKED", "REVOKED", "SUCCESS"]


def test_revoke_running_only_with_terminate(new_worker: Any) -> None:
    running = make(Status.STARTED, worker_id=new_worker().pk)
    assert jobs("revoke", running.pk) == "0 revoked, skipped: 1 is started\n"
    assert jobs("revoke", running.pk, "--terminate") == "1 revoked\n"
    assert statuses(running) == ["REVOKED"]
    assert Command.objects.get().name == "terminate"


# --- move -----------------------------------------------------------------------------------------


def places() -> list[tuple[str, int]]:
    return sorted((row.queue, row.priority) for row in Job.objects.all())


def test_move_by_id_and_by_filter() -> None:
    one, running = make(), make(Status.STARTED)
    assert jobs("move", one.pk, running.pk, "--to", "mail") == "1 moved, skipped: 1 is started\n"
    make(Status.SCHEDULED, name="other")
    assert jobs_json("move", "--name", "other", "--to", "slow", "--priority", "-2") == {
        "moved": 1,
        "skipped": {},
    }
    assert places() == [("default", 0), ("mail", 0), ("slow", -2)]
    assert jobs("move", "--queue", "mail", "--priority", "7") == "1 moved\n"
    assert jobs("move", "--status", "scheduled", "--to", "mail") == "1 moved\n"
    assert places() == [("default", 0), ("mail", -2), ("mail", 7)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--name", "x"], "Give --to QUEUE, --priority N or both"),
        (["ID", "--queue", "mail"], "did you mean --to mail?"),
        (["--to", "mail"], "Name the jobs by their ids, or by one or more of --status"),
        (["ID", "--name", "x", "--to", "mail"], "not both"),
        (["ID", "--to", "a,b"], "must not have a comma"),
        (["ID", "--priority", "99999"], "from -32767 to 32767"),
    ],
)
def test_invalid_move_says_why(arguments: list[str], told: str) -> None:
    row = make()
    with pytest.raises(CommandError, match=told):
        jobs("move", *(str(row.pk) if text == "ID" else text for text in arguments))
    assert places() == [("default", 0)]


def test_move_into_a_full_queue_says_so(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"MAX_PENDING": 1}}}
    make(queue="mail")
    row = make()
    with pytest.raises(CommandError, match="holds 1 pending jobs and may hold 1"):
        jobs("move", row.pk, "--to", "mail")


# --- purge ----------------------------------------------------------------------------------------


def test_purge_deletes_pending_jobs_of_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.control.queues._CHUNK", 2)
    for _ in range(5):
        make(queue="mail")
    kept = [make(), make(Status.SCHEDULED, queue="mail"), make(Status.STARTED, queue="mail")]
    assert jobs("purge", "--queue", "mail", "--noinput") == "5 deleted\n"
    assert list(Job.objects.order_by("pk")) == kept


def test_purge_keeps_jobs_that_others_depend_on() -> None:
    parent, child = make(has_dependents=True), make(Status.WAITING, pending_parents=1)
    Edge.objects.create(parent=parent, child=child)
    assert jobs("purge", "--queue", "default", "--yes").startswith("0 deleted, skipped: 1 other")
    assert statuses(parent) == ["PENDING"]


def test_purge_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    make(queue="mail")
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    with pytest.raises(CommandError, match="Nothing was deleted"):
        jobs("purge", "--queue", "mail")
    assert asked == ["Permanently delete 1 pending jobs of queue 'mail'? [y/N] "]
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert jobs("purge", "--queue", "mail") == "1 deleted\n"


def test_delete_takes_ended_jobs_that_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.management.jobs.selection.CHUNK", 2)
    ended = [make(Status.FAILURE, queue="mail") for _ in range(3)]
    kept = [make(Status.SUCCESS), make(queue="mail"), make(Status.STARTED, queue="mail")]
    told = jobs_json("delete", "--queue", "mail", "--dry-run")
    assert told == {"dry_run": True, "deleted": 3, "functions": {"tests.jobs.add": 3},
                    "skipped": {}}  # fmt: skip
    assert jobs("delete", "--queue", "mail", "--no-input") == "3 deleted\n"
    assert list(Job.objects.order_by("pk")) == kept
    assert ended


def test_delete_by_id_says_what_stays() -> None:
    needed = make(has_dependents=True, status=Status.SUCCESS)
    waits = make(Status.WAITING, pending_parents=1)
    Edge.objects.create(parent=needed, child=waits)
    free = make(Status.REVOKED)
    assert jobs_json("delete", needed.pk, waits.pk, free.pk, "--yes") == {
        "deleted": 1,
        "skipped": {"is waiting": 1, "another job of its workflow still needs its result": 1},
    }
    assert list(Job.objects.order_by("pk")) == [needed, waits]


def test_delete_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    row = make(Status.FAILURE)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    with pytest.raises(CommandError, match="Nothing was deleted"):
        jobs("delete", row.pk)
    assert (asked, statuses(row)) == (["Permanently delete 1 job? [y/N] "], ["FAILURE"])
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert jobs("delete", row.pk) == "1 deleted\n"


# --- stats ----------------------------------------------------------------------------------------


def test_stats(new_worker: Any) -> None:
    new_worker(slots=4, busy=1, queues=["mail"])
    new_worker(-5)
    make(), make(queue="mail"), make(Status.FAILURE)
    Queue.objects.create(name="slow", paused_at=timezone.now())
    told = jobs_json("stats")
    assert told["statuses"]["PENDING"] == {"count": 2, "capped": False}
    assert set(told["statuses"]) == set(Status.values)
    assert {queue["name"]: queue["ready"]["count"] for queue in told["queues"]} == {
        "default": 1, "mail": 1, "slow": 0,
    }  # fmt: skip
    assert [worker["busy"] for worker in told["workers"]] == [1]
    text = jobs("stats")
    assert "1/4" in text
    assert text.index("PENDING") < text.index("QUEUE") < text.index("WORKER")


def test_stats_counts_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.metrics.capped_count.CAP", 2)
    for _ in range(3):
        make()
    assert jobs_json("stats")["statuses"]["PENDING"] == {"count": 2, "capped": True}
    assert "2+" in jobs("stats")
    assert "No live worker." in jobs("stats")


# --- run ------------------------------------------------------------------------------------------


def test_run_enqueues() -> None:
    told = jobs("run", "tests.jobs.add", "--args", "[1]", "--kwargs", '{"b": 2}', "--queue", "q")
    row = Job.objects.get()
    assert told == f"{row.pk}\n"
    assert (row.args, row.kwargs, row.queue, row.status) == ([1], {"b": 2}, "q", "PENDING")


def test_run_and_wait_prints_the_result(settings: Any) -> None:
    setattr(settings, SETTING, {"EAGER": True})
    assert jobs("run", "tests.jobs.add", "--args", "[1, 2]", "--wait") == "3\n"
    assert jobs_json("run", "tests.jobs.add", "--args", "[1, 2]", "--wait")["result"] == 3


def test_run_and_wait_for_a_failure(settings: Any) -> None:
    setattr(settings, SETTING, {"EAGER": True})
    with pytest.raises(CommandError, match=r"ended with FAILURE: builtins\.ValueError: broken"):
        jobs("run", "tests.jobs.fail", "--wait")


def test_run_and_wait_too_long() -> None:
    with pytest.raises(CommandError, match="had not ended after"):
        jobs("run", "tests.jobs.add", "--args", "[1]", "--wait", "--timeout", "0")


def test_run_and_wait_too_long_escapes_what_a_row_says() -> None:
    def defer(**named: Any) -> None:
        Job.objects.filter(pk__in=named["job_ids"]).update(
            status="SCHEDULED", deferrals=1, error_class="x", error_message="\x1b[31mred\nforged"
        )

    signals.job_enqueued.connect(defer)
    try:
        with pytest.raises(CommandError) as caught:
            jobs("run", "tests.jobs.add", "--args", "[1]", "--wait", "--timeout", "0")
    finally:
        signals.job_enqueued.disconnect(defer)
    assert str(caught.value).endswith(r"It is SCHEDULED: \x1b[31mred\nforged.")


def test_run_timeout_without_wait() -> None:
    with pytest.raises(CommandError, match="needs --wait"):
        jobs("run", "tests.jobs.add", "--args", "[1]", "--timeout", "1")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("add", "Did you mean 'tests.jobs.add'"),
        ("tests.jobs.ad", "Did you mean 'tests.jobs.add'"),
        ("zzz", r"named 'zzz'\. Define it with @job .* to the workers\.$"),
    ],
)
def test_run_unknown_name_suggests(name: str, hint: str) -> None:
    with pytest.raises(CommandError, match=hint):
        jobs("run", name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--args", "[1 2]"), r"--args is not JSON: Expecting ',' delimiter at line 1, column 4"),
        (("--args", "{}"), "--args must be an array"),
        (("--kwargs", "[]"), "--kwargs must be an object"),
        (("--args", "[1, 2, 3]"), "too many positional arguments"),
        (("--args", "[NaN]"), "Argument 0 is nan"),
        (("--args", "[1]", "--queue", ""), "queue must be a"),
    ],
)
def test_run_wrong_arguments_write_nothing(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        jobs("run", "tests.jobs.add", *arguments)
    assert not Job.objects.exists()
