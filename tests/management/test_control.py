"""``manage.py jobs control``, ``inspect``, ``pause``, ``resume`` and ``top``, without a worker."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_jobs import job
from django_jobs.control import commands
from django_jobs.control.command_table import COMMANDS
from django_jobs.define.key_values import of_value
from django_jobs.management.jobs import worker_parsers
from django_jobs.management.jobs.claimed_jobs import held
from django_jobs.models import Command, Job, Limit, Queue, Worker
from django_jobs.redaction import REDACTED
from django_jobs.values import Claimed
from tests import jobs as functions
from tests.waiting import LONG

pytestmark = pytest.mark.django_db


def jobs(*arguments: object) -> str:
    out = io.StringIO()
    call_command("jobs", *map(str, arguments), stdout=out, no_color=True)
    return out.getvalue()


def jobs_json(*arguments: object) -> Any:
    return json.loads(jobs(*arguments, "--json"))


def name(worker: Worker, text: str) -> Worker:
    Worker.objects.filter(pk=worker.pk).update(name=text)
    return Worker.objects.get(pk=worker.pk)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Answer every command at once, as workers would."""

    def answer(value: Any) -> None:
        def wait(sent: Any, timeout: float, using: str) -> list[Command]:
            ids = [row.pk for row in sent]
            open_commands = Command.objects.filter(pk__in=ids, done_at=None)
            open_commands.update(done_at=sent[0].created_at, answer=value)
            return list(Command.objects.filter(pk__in=ids))

        monkeypatch.setattr(commands, "wait", wait)

    return answer


# --- control ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_has_its_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        jobs("control", command, "--help")
    assert COMMANDS[command].help in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("ping", {}),
        ("quiet", {}),
        ("resume", {}),
        ("add-queue mail", {"queue": "mail"}),
        ("remove-queue mail", {"queue": "mail"}),
        ("time-limit tests.jobs.add", {"job": "tests.jobs.add", "hard": None, "soft": None}),
        (
            "time-limit tests.jobs.add --hard 9 --soft 5",
            {"job": "tests.jobs.add", "hard": 9, "soft": 5},
        ),
        ("grow", {"number": 1}),
        ("shrink 3", {"number": 3}),
        ("autoscale 4,2", {"most": 4, "least": 2, "idle_seconds": 30}),
        ("autoscale 4,2,5.5", {"most": 4, "least": 2, "idle_seconds": 5.5}),
        ("autoscale off", {"most": None, "least": None, "idle_seconds": None}),
        ("shutdown", {"cold": False}),
        ("shutdown --cold", {"cold": True}),
    ],
)
def test_control_sends_the_command_with_its_arguments(
    worker: Worker, answered: Callable[[Any], None], line: str, arguments: dict[str, Any]
) -> None:
    answered({"done": True})
    assert "done yes" in jobs("control", *line.split())
    row = Command.objects.get()
    assert (row.name, row.arguments) == (line.split()[0], arguments)
    assert "@" in row.created_by


def test_control_prints_the_answer_of_each_worker(
    new_worker: Callable[..., Worker], answered: Callable[[Any], None]
) -> None:
    name(new_worker(), "b-0")
    name(new_worker(), "a-0")
    answered({"queues": ["mail"], "exclude_queues": []})
    assert jobs("control", "add-queue", "mail").splitlines() == [
        "WORKER  ANSWER",
        "a-0     mail",
        "b-0     mail",
    ]
    assert {row["worker"] for row in jobs_json("control", "ping")} == {"a-0", "b-0"}


def test_control_fails_when_one_refuses(worker: Worker, answered: Callable[[Any], None]) -> None:
    answered({"error": "cannot"})
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 workers did not do it"):
        call_command("jobs", "control", "grow", stdout=out)
    assert "error: cannot" in out.getvalue()


def test_control_waits_no_longer_than_its_timeout(worker: Worker) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 workers did not do it"):
        call_command("jobs", "control", "ping", "--timeout", "0", stdout=out)
    assert "no answer within 0 s" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--worker", "host-1"], ["host-1"]),
        (["--worker", "host"], ["host-1", "host-2"]),
        (["--worker", "host-2", "--worker", "other"], ["host-2", "other"]),
        (["--queue", "mail"], ["host-1", "other"]),
        (["--queue", "mail", "--worker", "host"], ["host-1"]),
    ],
)
def test_workers_are_chosen_by_name_and_queue(
    new_worker: Callable[..., Worker],
    answered: Callable[[Any], None],
    arguments: list[str],
    told: list[str],
) -> None:
    name(new_worker(queues=["mail"]), "host-1")
    name(new_worker(exclude_queues=["mail"]), "host-2")
    name(new_worker(), "other")
    name(new_worker(lease_seconds=-1), "host-3")
    answered({})
    assert sorted(row["worker"] for row in jobs_json("control", "ping", *arguments)) == told


def test_worker_is_named_by_its_id(new_worker: Any, answered: Any) -> None:
    name(new_worker(), "host-1")
    wanted = new_worker()
    answered({})
    (row,) = jobs_json("control", "ping", "--worker", str(wanted.pk))
    assert row["worker"] == wanted.name


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["ping", "--worker", "nobody"],
            "No live worker is named 'nobody'. The live workers are: w",
        ),
        (["ping", "--queue", "slow"], "No worker is alive. Start one"),
        (["time-limit", "nobody"], "No job function is named 'nobody'"),
        (["autoscale", "1,2"], "must not be below least"),
        (["autoscale", "many"], "must be MAX,MIN or MAX,MIN,SECONDS, got 'many'"),
        (["grow", "0"], "must be a whole number of at least 1, got '0'"),
    ],
)
def test_wrong_control_is_refused(
    new_worker: Callable[..., Worker], arguments: list[str], complaint: str
) -> None:
    new_worker(exclude_queues=["slow"])
    with pytest.raises(CommandError, match=complaint):
        jobs("control", *arguments)
    assert not Command.objects.exists()


def test_pause_and_resume() -> None:
    assert jobs("pause", "mail", "slow") == "mail: paused\nslow: paused\n"
    assert "@" in Queue.objects.get(name="mail").paused_by
    assert jobs("pause", "mail") == "mail: was paused already\n"
    assert jobs_json("resume", "mail", "never") == {"resumed": ["mail"]}
    with pytest.raises(CommandError, match="queue must not begin with"):
        jobs("pause", "@")


def test_limits_of_functions_and_queues(registered: dict[str, Any]) -> None:
    @job(name="keyed", concurrency=2, concurrency_key=("tenant",))
    def keyed(tenant: str) -> None: ...

    assert jobs("limit", "keyed", "--rate", "10/m", "--concurrency", "3") == (
        "job function keyed: set\n"
    )
    row = Limit.objects.get()
    assert (row.rate_limit, row.concurrency) == ("10/m", 3)
    jobs("limit", "keyed", "--concurrency", "none", "--rate", "none")
    assert not Limit.objects.exists()
    jobs("limit", "keyed", "--concurrency", "1", "--key", "acme")
    assert Limit.objects.get().concurrency == 1
    assert Limit.objects.get().key == of_value("keyed", {"tenant": "acme"})
    jobs("limit", "keyed", "--concurrency", "none", "--key", "acme")
    for key, value in (("7", 7), ('"7"', "7"), ('{"tenant": 7}', 7)):
        jobs("limit", "keyed", "--concurrency", "1", "--key", key)
        assert Limit.objects.get().key == of_value("keyed", {"tenant": value})
        jobs("limit", "keyed", "--concurrency", "none", "--key", key)
    told = jobs_json("limit", "mail", "--rate", "10/s, 1000/h")
    assert told == {"kind": "queue", "name": "mail", "rate_limit": "10/s, 1000/h"}
    assert Queue.objects.get(name="mail").rate_limit == "10/s, 1000/h"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["mail"], "Give concurrency, rate_limit or both"),
        (["mail", "--rate", "10/x"], "rate_limit must be"),
        (["mail", "--concurrency", "many"], "--concurrency must be a whole number or none"),
        (["mail", "--rate", "1/s", "--key", "a"], "A queue has no keys"),
        (["@", "--rate", "1/s"], "queue must not begin with"),
    ],
)
def test_wrong_limit_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        jobs("limit", *arguments)


def test_revoke_by_header() -> None:
    for tenant in (7, "7", 8, None):
        headers = None if tenant is None else {"tenant": tenant}
        functions.add.apply_async((1,), headers=headers)
    assert jobs("revoke", "--header", "tenant=7") == "2 revoked\n"
    assert jobs("revoke", "--header", "tenant=8", "--queue", "other") == "0 revoked\n"
    assert Job.objects.filter(status="REVOKED").count() == 2
    with pytest.raises(CommandError, match="--header must be NAME=VALUE"):
        jobs("revoke", "--header", "tenant")


# --- inspect ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("active", "No running jobs."),
        ("reserved", "All claimed jobs have started."),
        ("scheduled", "No scheduled jobs."),
        ("registered", "No live worker. The job functions of this command's own code:"),
        ("stats", "No live worker."),
        ("conf", "No live worker. The settings of this command:"),
        ("queues", "default"),
    ],
)
def test_inspect_answers_without_a_worker(subject: str, told: str) -> None:
    assert told in jobs("inspect", subject)
    jobs_json("inspect", subject)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("active", ["WORKER", "ID", "tests.jobs.add", "w-1"]),
        ("reserved", ["All claimed jobs have started."]),
        ("scheduled", ["WHEN", "tests.jobs.echo"]),
        ("registered", ["JOB", "LIMITED TO", "shop.jobs.import", "max_retries 5"]),
        ("stats", ["BUSY", "w-1", "threads", "1/4"]),
        ("conf", ["w-1:", '"concurrency": 4']),
        ("queues", ["QUEUE", "default", "RUNNING"]),
        ("ping", ["HOST", "w-1", "host-1"]),
    ],
)
def test_every_subject_shows_its_rows(
    new_worker: Callable[..., Worker],
    take: Callable[..., list[Claimed]],
    subject: str,
    words: list[str],
) -> None:
    details = {
        "registered": {"shop.jobs.import": {"max_retries": 5}},
        "conf": {"concurrency": 4},
    }
    row = new_worker(hostname="host-1", pool="threads", slots=4, details=details)
    functions.add.delay(1, 2)
    take(by=name(row, "w-1"))
    functions.echo.apply_async((1,), countdown=60)
    shown = jobs("inspect", subject)
    assert [word for word in words if word not in shown] == []


def test_every_subject_is_tested() -> None:
    (mark,) = test_every_subject_shows_its_rows.pytestmark  # type: ignore[attr-defined]
    assert [subject for subject, _words in mark.args[1]] == list(worker_parsers.SUBJECTS)


def test_inspect_ping_fails_without_a_live_worker(new_worker: Callable[..., Worker]) -> None:
    new_worker(lease_seconds=-1)
    with pytest.raises(CommandError, match="No worker is alive"):
        jobs("inspect", "ping")
    living = name(new_worker(), "w-1")
    assert [row["id"] for row in jobs_json("inspect", "ping")] == [str(living.pk)]
    assert "w-1" in jobs("inspect", "ping")


def test_inspect_separates_running_from_claimed_jobs(
    new_worker: Callable[..., Worker], take: Callable[..., list[Claimed]]
) -> None:
    first, second = name(new_worker(slots=2), "first"), name(new_worker(), "second")
    ids = [functions.add.delay(n).id for n in range(5)]
    mine = [claimed.id for claimed in take(3, by=first)]
    others = [claimed.id for claimed in take(2, by=second)]
    assert sorted(mine + others) == sorted(ids)
    running, reserved = held("default")
    assert [pk for pk, _ in running] == [*mine[:2], others[0]]
    assert [pk for pk, _ in reserved] == [mine[2], others[1]]
    rows = jobs_json("inspect", "active", "--worker", "first")
    assert [(row["id"], row["worker"]) for row in rows] == [(str(pk), "first") for pk in mine[:2]]
    assert [row["id"] for row in jobs_json("inspect", "reserved")] == [str(mine[2]), str(others[1])]
    assert len(jobs_json("inspect", "active", "--limit", 1)) == 1
    assert {row["name"]: row["busy"] for row in jobs_json("inspect", "stats")} == {
        "w": 0,
        "first": 2,
        "second": 1,
    }


def test_inspect_hides_secrets(registered: dict[str, Any], take: Callable[..., Any]) -> None:
    @job(name="secretive")
    def secretive(password: str) -> None: ...

    secretive.delay("hunter2-top")
    secretive.apply_async(("hunter2-top",), countdown=60)
    take()
    for line in (["inspect", "active"], ["inspect", "scheduled"], ["top"]):
        assert "hunter2" not in jobs(*line)
        assert REDACTED in jobs(*line) or line == ["top"]
    assert "hunter2" not in json.dumps(jobs_json("inspect", "active"))


def test_inspect_scheduled_is_in_order_of_time() -> None:
    late = functions.add.apply_async((1,), countdown=600)
    soon = functions.add.apply_async((1,), countdown=60)
    assert [row["id"] for row in jobs_json("inspect", "scheduled")] == [str(soon.id), str(late.id)]
    assert len(jobs_json("inspect", "scheduled", "--limit", 1)) == 1


def test_inspect_registered_shows_the_workers_of_each_function(
    new_worker: Callable[..., Worker],
) -> None:
    old, new = {"a": {"queue": "mail"}}, {"a": {"queue": "mail"}, "b": {}}
    name(new_worker(details={"registered": old}), "old-0")
    name(new_worker(details={"registered": new}), "new-0")
    title, *lines = jobs("inspect", "registered").splitlines()
    assert title.split() == ["JOB", "SETS", "LIMITED", "TO", "WORKERS"]
    assert [line.split() for line in lines] == [["a", "queue", "mail", "all"], ["b", "new-0"]]
    told = jobs_json("inspect", "registered", "--worker", "old")
    assert told["workers"] == {"old-0": old}
    assert functions.add.name in told["here"]


def test_inspect_registered_shows_limits_of_operators() -> None:
    jobs("limit", functions.add.name, "--rate", "1/m", "--concurrency", "2")
    line = next(
        one for one in jobs("inspect", "registered").splitlines() if functions.add.name in one
    )
    assert "concurrency 2, rate_limit 1/m" in line
    assert jobs_json("inspect", "registered")["limits"] == {
        functions.add.name: [{"key": "", "concurrency": 2, "rate_limit": "1/m"}]
    }


def test_inspect_conf_shows_equal_settings_once(new_worker: Callable[..., Worker]) -> None:
    for number in range(2):
        details = {"conf": {"options": {"pool": "prefork"}}}
        name(new_worker(details=details), f"w-{number}")
    text = jobs("inspect", "conf")
    assert text.startswith("w-0, w-1:\n")
    assert text.count("prefork") == 1


def test_inspect_queues_shows_workers_and_pauses(
    new_worker: Callable[..., Worker],
) -> None:
    name(new_worker(queues=["mail"]), "w-0")
    functions.add.apply_async((1,), queue="mail")
    Queue.objects.create(name="mail", paused_at=Worker.objects.get().started_at, paused_by="joe")
    (row,) = [row for row in jobs_json("inspect", "queues") if row["name"] == "mail"]
    assert (row["ready"]["count"], row["workers"], row["paused_by"]) == (1, ["w-0"], "joe")
    assert "by joe" in jobs("inspect", "queues")


# --- top ----------------------------------------------------------------------------------------


def test_top_prints_one_screen_without_a_terminal(worker: Worker, take: Callable[..., Any]) -> None:
    functions.add.delay("\x1b[31m\nred")
    take()
    functions.add.delay(2)
    text = jobs("top")
    assert "ready 1  running 1" in text
    assert "slots 1/1" in text
    assert "\x1b" not in text
    told = jobs_json("top")
    assert (told["ready"], told["running"], told["workers"]) == (1, 1, 1)
    with pytest.raises(CommandError, match="--interval must be seconds > 0"):
        jobs("top", "--interval", "0")


# --- waiting for real ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_control_waits_for_the_answer(
    new_worker: Callable[..., Worker], until: Callable[..., None]
) -> None:
    new_worker()
    told: list[str] = []

    def control() -> None:
        try:
            told.append(jobs("control", "ping", "--timeout", str(LONG)))
        finally:
            connections.close_all()

    thread = threading.Thread(target=control)
    thread.start()
    moment = Worker.objects.get().started_at
    until(lambda: Command.objects.update(done_at=moment, answer={"pong": "w"}))
    thread.join(LONG)
    assert "pong w" in told[0]
