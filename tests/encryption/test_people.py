"""What people see of encrypted values: in the admin, in commands and in the state of a job."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from django_jobs.contrib.sentry.attempt import _arguments
from django_jobs.define.envelopes import ENCRYPTED, MARK, stored
from django_jobs.models import Job, Schedule
from django_jobs.testing import run_jobs
from django_jobs.testing.captured import enqueued
from django_jobs.values import Claimed
from tests.encryption.conftest import NEW, OLD, OTHER, SECRET

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_instrumentation")]

LIST = "/admin/django_jobs/job/"
MAY = ("view_job", "view_encrypted_job")


def html_of(client: Client, result: Any) -> str:
    return str(client.get(f"{LIST}{result.id}/change/").content.decode())


def jobs_command(*arguments: object) -> str:
    out = io.StringIO()
    call_command("jobs", *map(str, arguments), stdout=out, no_color=True)
    return out.getvalue()


def test_the_admin_says_what_is_encrypted(functions: Any, client_of: Callable[..., Client]) -> None:
    result = functions.charge.delay(SECRET, 2)
    run_jobs()
    client = client_of("view_job")
    html = html_of(client, result)
    assert SECRET not in html
    assert html.count(ENCRYPTED) >= 3
    assert ENCRYPTED in client.get(LIST).content.decode()


def test_a_permission_of_its_own_shows_it(
    functions: Any, client_of: Callable[..., Client], settings: Any
) -> None:
    result = functions.charge.delay(SECRET, 2)
    run_jobs()
    client = client_of(*MAY)
    html = html_of(client, result)
    assert html.count(SECRET) >= 2
    assert ENCRYPTED not in html
    assert SECRET not in client.get(LIST).content.decode()
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OTHER]}
    html = html_of(client, result)
    assert SECRET not in html
    assert ENCRYPTED in html


def test_hidden_names_stay_hidden_with_the_permission(
    registered: Any, keys: None, client_of: Callable[..., Client]
) -> None:
    from django_jobs import job

    @job(name="enc.login", encrypt=True)
    def login(name: str, password: str) -> dict[str, str]:
        return {"password": password, "name": name}

    result = login.delay("ann of shop", SECRET)
    run_jobs()
    html = html_of(client_of(*MAY), result)
    assert "ann of shop" in html
    assert SECRET not in html


def test_a_copy_has_the_same_arguments(functions: Any, boss: Client) -> None:
    result = functions.charge.delay(SECRET, 2)
    boss.post(LIST, {"action": "copy", "_selected_action": [result.id], "index": "0"})
    run_jobs()
    copy = Job.objects.exclude(pk=result.uuid).get()
    from django_jobs import AsyncResult

    assert AsyncResult(copy.pk).result == {"number": SECRET, "amount": 2}


def test_what_is_encrypted_is_not_searched(functions: Any, boss: Client) -> None:
    functions.named.delay(7, SECRET, "rest")
    functions.charge.delay(SECRET, 2)

    def found(term: str) -> int:
        return int(boss.get(LIST, {"q": term}).context["cl"].result_count)

    assert (found("args.number:7"), found("enc.charge")) == (1, 1)
    assert [found(f"args.{name}:{SECRET}") for name in ("number", "owner")] == [0, 0]
    assert found(f"args.owner:{Job.objects.get(name='enc.named').args[1][MARK]}") == 0


def test_a_plain_argument_after_an_encrypted_one_is_found(
    registered: Any, keys: None, boss: Client
) -> None:
    from django_jobs import job

    @job(name="enc.behind", encrypt=["first"])
    def behind(first: str, second: int) -> None: ...

    behind.delay(SECRET, 42)
    assert boss.get(LIST, {"q": "args.second:42"}).context["cl"].result_count == 1


def test_the_commands_show_that_it_is_encrypted(functions: Any) -> None:
    result = functions.charge.delay(SECRET, 2)
    run_jobs()
    shown = json.loads(jobs_command("show", result.id, "--json"))
    assert (shown["args"], shown["result"]) == ([ENCRYPTED, ENCRYPTED], ENCRYPTED)
    listed = json.loads(jobs_command("list", "--json"))
    assert listed[0]["args"] == [ENCRYPTED, ENCRYPTED]
    texts = [jobs_command("list"), jobs_command("show", result.id)]
    assert all(ENCRYPTED in text and SECRET not in text for text in texts)


def test_the_state_of_a_job_shows_no_encrypted_text(functions: Any, client: Client) -> None:
    result = functions.charge.delay(SECRET)
    message = stored(SECRET, encrypt=True)
    Job.objects.update(status="STARTED", progress={"done": 1, "total": 2, "message": message})
    state = client.get(result.status_url()).json()
    assert (state["done"], state["total"], state["message"]) == (1, 2, "")
    assert state["text"] == "1 of 2"
    Job.objects.update(status="SUCCESS", result=message)
    assert client.get(result.status_url(result=True)).json()["result"] == ENCRYPTED


def test_a_schedule_hides_the_arguments_and_its_jobs_encrypt_them(
    functions: Any, boss: Client
) -> None:
    from django_jobs.control import schedules

    row = Schedule.objects.create(
        name="s", job_name="enc.charge", interval_seconds=60, args=[SECRET]
    )
    assert SECRET not in boss.get(f"/admin/django_jobs/schedule/{row.pk}/change/").content.decode()
    schedules.run_now(row)
    run_jobs()
    job = Job.objects.get(schedule_id=row.pk)
    assert SECRET not in repr([job.args, job.result])


def test_reprs_and_sentry_show_nothing(functions: Any, take: Any) -> None:
    functions.charge.delay(SECRET, 2)
    assert SECRET not in repr(enqueued())
    assert enqueued()[0].args == [SECRET, 2]
    (claimed,) = take()
    assert isinstance(claimed, Claimed)
    assert SECRET in claimed.args
    assert SECRET not in repr(_arguments(claimed))
    assert SECRET not in repr(functions.charge.s(SECRET))


def test_a_task_result_has_the_values(registered: Any, keys: None) -> None:
    from tests import tasks

    result = tasks.plus.enqueue(1, b=2)
    row = Job.objects.filter(pk=result.id)
    row.update(args=[stored(1, encrypt=True)], kwargs={"b": stored(2, encrypt=True)})
    run_jobs()
    row.update(result=stored(3, encrypt=True))
    found = tasks.plus.get_result(result.id)
    assert (found.args, found.kwargs, found.return_value) == ([1], {"b": 2}, 3)


def test_reencrypt_renews_all_values_and_counts_them(functions: Any, settings: Any) -> None:
    f = functions
    done = f.charge.delay(SECRET, 2)
    run_jobs()
    Job.objects.filter(pk=done.uuid).update(
        progress={"done": 1, "message": stored(SECRET, encrypt=True)}
    )
    waiting = f.named.apply_async((1, SECRET), link_error=f.alarm.s(phone=SECRET))
    looks = f.plain.delay({MARK: "x"}, "é")
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD, NEW]}
    said = json.loads(jobs_command("reencrypt", "--json"))
    assert said == {"jobs": 2, "renewed": 6, "kept": 0, "closed": 0, "closed_jobs": []}
    assert "0 values were encrypted anew, 6 had" in jobs_command("reencrypt")
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD]}
    assert done.result == {"number": SECRET, "amount": 2}
    assert done.progress == {"done": 1, "message": SECRET}
    Job.objects.filter(pk=waiting.uuid).update(name="enc.fail", args=[1])
    run_jobs(raise_errors=False)
    assert Job.objects.get(name="enc.alarm").status == "SUCCESS"
    assert looks.result == {MARK: "x"}


def test_reencrypt_goes_on_where_it_was_stopped(
    functions: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_jobs.control import reencrypt, reencryption

    for _number in range(5):
        functions.charge.delay(SECRET, 2)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD, NEW]}
    monkeypatch.setattr(reencryption, "_BATCH", 2)
    change, calls = reencryption._change, []

    def stop(ids: Any, using: str) -> Any:
        calls.append(ids)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return change(ids, using)

    monkeypatch.setattr(reencryption, "_change", stop)
    with pytest.raises(KeyboardInterrupt):
        reencrypt()
    done = reencrypt()
    assert (done.jobs, done.renewed, done.kept) == (5, 6, 4)


def test_reencrypt_names_what_no_key_opens(functions: Any, settings: Any) -> None:
    lost = functions.charge.delay(SECRET)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD]}
    functions.charge.delay(SECRET)
    before = Job.objects.get(pk=lost.uuid).args
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("jobs", "reencrypt", stdout=out)
    assert f"No key opens 1 values. The first jobs that have some: {lost.id}." in out.getvalue()
    assert Job.objects.get(pk=lost.uuid).args == before
    settings.DJANGO_JOBS = {}
    with pytest.raises(CommandError, match="ENCRYPTION_KEYS"):
        call_command("jobs", "reencrypt")
