"""``manage.py jobs mcp``, asked by the client of the protocol's own SDK."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from mcp.client import Client
from mcp_types import CallToolResult, TextContent, Tool

from django_jobs import job
from django_jobs.management.mcp import tools
from django_jobs.management.mcp.bounded import LONGEST_ANSWER, bounded
from django_jobs.management.mcp.server import make_server
from django_jobs.models import Job, Queue
from django_jobs.redaction import REDACTED
from django_jobs.status import Status
from tests.forkserver import ROOT, environment
from tests.jobs import add
from tests.management.test_jobs import make

pytestmark = [pytest.mark.django_db, pytest.mark.once]

UNKNOWN = "01900000-0000-7000-8000-000000000000"


server_of = functools.cache(lambda may_write: make_server(None, may_write=may_write))


def asked(question: Callable[[Client], Awaitable[Any]], *, may_write: bool = True) -> Any:
    async def session() -> Any:
        async with Client(server_of(may_write), mode="legacy") as client:
            return await question(client)

    return async_to_sync(session)()


def called(tool: str, **arguments: Any) -> CallToolResult:
    result = asked(lambda client: client.call_tool(tool, arguments))
    assert isinstance(result, CallToolResult)
    return result


def text(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def answer(tool: str, **arguments: Any) -> Any:
    result = called(tool, **arguments)
    assert not result.is_error, text(result)
    return json.loads(text(result))


def refusal(tool: str, **arguments: Any) -> str:
    result = called(tool, **arguments)
    assert result.is_error
    return text(result)


def listed(*, may_write: bool) -> dict[str, Tool]:
    found = asked(lambda client: client.list_tools(), may_write=may_write)
    return {tool.name: tool for tool in found.tools}


# --- what an agent reads --------------------------------------------------------------------------


def test_only_write_offers_tools_that_change_something() -> None:
    read, both = listed(may_write=False), listed(may_write=True)
    assert set(read) == {tool.__name__ for tool in tools.READ}
    assert set(both) - set(read) == {tool.__name__ for tool in tools.WRITE}
    hints = {name: tool.annotations for name, tool in both.items() if tool.annotations}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == set(read)
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {
        "revoke_jobs", "pause_queues", "set_limit",
    }  # fmt: skip


def test_every_tool_and_every_argument_is_described() -> None:
    for name, tool in listed(may_write=True).items():
        assert len(tool.description or "") > 40, name
        for argument, schema in tool.input_schema.get("properties", {}).items():
            assert schema.get("description"), (name, argument)
    statuses = listed(may_write=False)["list_jobs"].input_schema["properties"]["status"]
    assert statuses["enum"] == [*Status.values, None]


def test_the_server_says_what_it_is_and_whether_it_only_reads() -> None:
    async def instructions(client: Client) -> str:
        return client.instructions or ""

    assert "only reads" in asked(instructions, may_write=False)
    assert "ask before you use them" in asked(instructions)


# --- tools that read ------------------------------------------------------------------------------


def test_tools_answer_with_what_the_commands_print() -> None:
    row = make(Status.FAILURE, name="tests.jobs.add", queue="mail", error_class="OSError")
    make(Status.SUCCESS)
    (found,) = answer("list_jobs", status="FAILURE", name="tests.jobs.add", limit=5)["result"]
    out = io.StringIO()
    call_command("jobs", "list", "--status=FAILURE", "--json", stdout=out)
    assert [found] == json.loads(out.getvalue())
    assert answer("show_job", job_id=str(row.pk))["result"]["error_class"] == "OSError"


@pytest.mark.parametrize("tool", sorted(tool.__name__ for tool in tools.READ if not
                                        {"job_id"} & tool.__annotations__.keys()))  # fmt: skip
def test_tools_without_required_arguments_answer(tool: str) -> None:
    assert "result" in answer(tool)


def test_a_failed_check_is_an_answer_with_its_error() -> None:
    told = answer("check_health")
    assert told["result"]["ok"] is False
    assert told["error"].startswith("Not healthy: workers")


def test_a_job_tells_why_it_waits() -> None:
    row = make(queue="mail")
    answer("pause_queues", queues=["mail"])
    (found,) = answer("list_jobs")["result"]
    told = answer("show_job", job_id=str(row.pk))["result"]
    assert found["waiting"]["kind"] == told["waiting"]["kind"] == "paused"


def test_warnings_of_the_command_are_in_the_answer() -> None:
    (warning,) = answer("list_jobs", name="tests.jobs.ad")["warnings"]
    assert "tests.jobs.ad" in warning


def test_secrets_are_hidden(registered: dict[str, Any]) -> None:
    @job(name="secretive")
    def function(user: str, password: str) -> None: ...

    row = make(name="secretive", args=["ada", "hunter2-top"])
    assert answer("show_job", job_id=str(row.pk))["result"]["args"] == ["ada", REDACTED]
    assert "hunter2-top" not in text(called("list_jobs"))


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("show_job", {"job_id": "--help"}, "A job's id must be a UUID, got '--help'."),
        ("show_job", {"job_id": UNKNOWN}, f"No job has the id {UNKNOWN}."),
        ("list_jobs", {"status": "LOST"}, "invalid choice: 'LOST'"),
        ("list_jobs", {"limit": 101}, "less than or equal to 100"),
        ("retry_jobs", {}, "Name the jobs by their ids"),
        ("run_job", {"name": "tests.jobs.nothing"}, "tests.jobs.nothing"),
        (
            "run_job",
            {"name": "tests.jobs.add", "args": [1, 2, 3, 4]},
            "too many positional arguments",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(tool: str, arguments: dict[str, Any], message: str) -> None:
    assert message in refusal(tool, **arguments)


def test_a_database_that_fails_is_an_error_without_its_text(
    monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    from django.db import OperationalError

    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("could not connect to db.internal as boss")

    monkeypatch.setattr("django_jobs.management.mcp.server.call_command", fail)
    told = refusal("count_jobs")
    assert "OperationalError" in told
    assert "db.internal" not in told


# --- tools that write -----------------------------------------------------------------------------


def test_run_retry_and_revoke() -> None:
    ran = answer("run_job", name=add.name, args=[1], kwargs={"b": 2}, queue="mail")["result"]
    row = Job.objects.get(pk=ran["id"])
    assert (row.args, row.kwargs, row.queue) == ([1], {"b": 2}, "mail")
    assert answer("revoke_jobs", ids=[ran["id"]])["result"] == {"revoked": 1, "skipped": {}}
    assert answer("retry_jobs", status="REVOKED", queue="mail")["result"]["retried"] == 1
    row.refresh_from_db()
    assert row.status == Status.PENDING


def test_pause_resume_and_limit() -> None:
    assert answer("pause_queues", queues=["mail"])["result"] == {"paused": ["mail"]}
    assert Queue.objects.get(name="mail").paused_at
    assert answer("resume_queues", queues=["mail"])["result"] == {"resumed": ["mail"]}
    limit = answer("set_limit", name=add.name, rate="10/m", concurrency=2)["result"]
    assert (limit["rate_limit"], limit["concurrency"]) == ("10/m", 2)
    assert "whole number" not in text(called("set_limit", name=add.name, concurrency="none"))


# --- bounds and streams ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, [{"text": "y" * 900}] * 500, {str(number): "z" * 99 for number in range(10**4)},
     [[["x" * 90] * 200] * 200]],
)  # fmt: skip
def test_a_long_answer_is_cut_and_says_so(value: Any) -> None:
    short = bounded({"result": value})
    assert len(short) <= LONGEST_ANSWER
    assert "were cut" in json.loads(short)["cut"]


def test_a_cut_text_keeps_its_end_and_a_short_answer_is_whole() -> None:
    cut = json.loads(bounded({"result": "a" * 10**5 + "OSError"}))["result"]
    assert cut.endswith("OSError")
    assert "more characters" in cut
    assert bounded({"result": [1, "ä"]}) == '{"result":[1,"ä"]}'


def test_stdout_has_only_messages_whatever_else_is_written() -> None:
    """A root logger on stdout, and a verb that prints past the command's own stream."""
    program = """
import logging, sys
import django; django.setup()
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
from django.core.management import execute_from_command_line
from django_jobs.management.commands import jobs
jobs._VERBS["schedules"] = lambda out, **given: (print("noise"), out.write("[]"))[0]
jobs.warnings = lambda *given: ()
execute_from_command_line(["manage.py", "jobs", "mcp"])
"""
    client = {"name": "test", "version": "1"}
    start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    call = {"name": "list_schedules", "arguments": {}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": start},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    server = subprocess.Popen(
        [sys.executable, "-c", program], text=True, cwd=ROOT, env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin
    assert server.stdout
    server.stdin.write(lines)
    server.stdin.flush()
    answers = [json.loads(server.stdout.readline()) for _message in (1, 2)]
    rest, log = server.communicate()
    assert [one["id"] for one in answers] == [1, 2]
    assert answers[1]["result"]["content"][0]["text"] == '{"result":[]}'
    assert (rest, server.returncode) == ("", 0)
    assert "noise" in log
    assert "Initializing server" in log


def test_without_the_package_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "django_jobs.management.mcp.server")
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    with pytest.raises(CommandError, match=r'pip install "django-background-jobs\[mcp\]"'):
        call_command("jobs", "mcp")
