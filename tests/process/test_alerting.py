"""People are told of an alert once when it is raised, and once when it is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django import VERSION
from django.core import mail
from django.core.checks import run_checks
from django.utils import timezone

from django_jobs.ids import uuid7
from django_jobs.models import Queue, RaisedAlert
from django_jobs.process import alerting
from django_jobs.status import Status
from django_jobs.worker.duties import Duties
from tests.admin.test_jobs import make

HOLDER = uuid7()
NO_WORKER = "No live worker runs."


class Hook:
    """A server that takes the messages of a webhook."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.texts.append(json.loads(body)["text"])
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-path"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever, args=(0.01,))
    thread.start()
    yield hook
    hook.server.shutdown()
    thread.join()
    hook.server.server_close()


@pytest.fixture(autouse=True)
def admins(settings: Any) -> None:
    # Django 6.0 takes addresses only.
    settings.ADMINS = ["ann@example.com" if VERSION >= (6,) else ("Ann", "ann@example.com")]


def turn_on(settings: Any, **given: Any) -> None:
    settings.DJANGO_JOBS = {"ALERTS": {"AFTER": 0, **given}}


def look(times: int = 2) -> None:
    for _time in range(times):
        alerting.run_once("default", HOLDER)


@pytest.mark.django_db
def test_alert_is_raised_once_and_cleared_once(
    settings: Any, hook: Hook, new_worker: Callable[..., Any]
) -> None:
    turn_on(settings, MAIL_ADMINS=True, WEBHOOK=hook.url)
    look()
    assert [each.body for each in mail.outbox] == [NO_WORKER]
    assert "Background jobs: Warning" in mail.outbox[0].subject
    assert hook.texts == [f"Background jobs: Warning: {NO_WORKER}"]
    new_worker()
    look()
    assert [each.body for each in mail.outbox] == [NO_WORKER] * 2
    assert "Background jobs: Over" in mail.outbox[1].subject
    assert hook.texts[1:] == [f"Background jobs: Over: {NO_WORKER}"]
    assert not RaisedAlert.objects.exists()


@pytest.mark.django_db
def test_nobody_is_told_of_an_alert_that_does_not_last(
    settings: Any, new_worker: Callable[..., Any]
) -> None:
    turn_on(settings, MAIL_ADMINS=True, AFTER=3600)
    look()
    assert RaisedAlert.objects.get().told == []
    new_worker()
    look()
    assert not RaisedAlert.objects.exists()
    assert mail.outbox == []


@pytest.mark.django_db
def test_channel_that_fails_is_told_again_and_the_other_is_not(
    settings: Any, hook: Hook, new_worker: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    turn_on(settings, MAIL_ADMINS=True, WEBHOOK=hook.url)
    hook.status = 500
    look()
    assert (len(mail.outbox), hook.texts) == (1, [])
    assert "alert not sent channel=webhook error=HTTPError" in caplog.text
    assert "secret-path" not in caplog.text
    hook.status = 200
    look()
    assert (len(mail.outbox), len(hook.texts)) == (1, 1)
    hook.status = 500
    new_worker()
    look()
    assert RaisedAlert.objects.get().told == ["webhook"]
    hook.status = 200
    look()
    assert (len(mail.outbox), len(hook.texts)) == (2, 2)
    assert not RaisedAlert.objects.exists()


@pytest.mark.django_db
def test_error_that_quotes_the_webhook_s_address_is_not_logged(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    turn_on(settings, WEBHOOK="http://127.0.0.1:1/secret path")
    look()
    assert "alert not sent channel=webhook error=InvalidURL" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.django_db
def test_one_process_of_the_cluster_tells(settings: Any) -> None:
    turn_on(settings, MAIL_ADMINS=True)
    for _time in range(2):
        alerting.run_once("default", HOLDER)
        alerting.run_once("default", uuid7())
    assert len(mail.outbox) == 1


@pytest.mark.django_db
def test_process_without_the_lease_does_not_look(settings: Any) -> None:
    turn_on(settings, MAIL_ADMINS=True, AFTER=3600)
    look()
    turn_on(settings, MAIL_ADMINS=True)
    alerting.run_once("default", uuid7())
    assert mail.outbox == []
    look()
    assert len(mail.outbox) == 1


@pytest.mark.django_db
def test_message_is_recorded_before_it_is_sent(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies while it sends the message does not send it twice."""

    class Killed(BaseException): ...

    def die(title: str, text: str) -> None:
        raise Killed

    turn_on(settings, MAIL_ADMINS=True)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(alerting, "mail_admins", die)
        look()
    assert RaisedAlert.objects.get().told == ["mail"]
    look()
    assert mail.outbox == []


@pytest.mark.django_db
def test_channel_that_was_removed_is_not_told_of_the_end(
    settings: Any, new_worker: Callable[..., Any]
) -> None:
    turn_on(settings, MAIL_ADMINS=True)
    look()
    turn_on(settings)
    new_worker()
    look()
    assert len(mail.outbox) == 1
    assert not RaisedAlert.objects.exists()


@pytest.mark.django_db
def test_names_do_not_become_links_in_the_webhook(
    settings: Any, hook: Hook, new_worker: Callable[..., Any]
) -> None:
    turn_on(settings, WEBHOOK=hook.url)
    new_worker()
    Queue.objects.create(name="<https://evil|a&b>", paused_at=timezone.now())
    make(Status.PENDING, queue="<https://evil|a&b>")
    look()
    (text,) = hook.texts
    assert "“&lt;https://evil|a&amp;b&gt;”" in text


@pytest.mark.once
def test_only_workers_of_a_site_with_a_channel_look(settings: Any) -> None:
    assert "alerts" not in Duties("default", leases=_NoLeases()).timers._timers  # type: ignore[arg-type]
    turn_on(settings, MAIL_ADMINS=True)
    assert "alerts" in Duties("default", leases=_NoLeases()).timers._timers  # type: ignore[arg-type]


class _NoLeases:
    def rescue(self) -> None: ...


@pytest.mark.once
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"MAIL": True}, "has an unknown key 'MAIL'"),
        ({"https://hooks.slack.com/secret": True}, "has an unknown key of 30 characters"),
        ({"MAIL_ADMINS": "yes"}, "['MAIL_ADMINS'] must be True or False, got str"),
        ({"WEBHOOK": "hooks.slack.com/secret"}, "['WEBHOOK'] must be an http(s) address, got str"),
        ({"WEBHOOK": "file:///etc/secret"}, "['WEBHOOK'] must be an http(s) address, got str"),
        ({"WEBHOOK": "http://[secret"}, "['WEBHOOK'] must be an http(s) address, got str"),
        ({"WEBHOOK": 3}, "['WEBHOOK'] must be an http(s) address, got int"),
        ({"MAIL_ADMINS": True, "AFTER": -1}, "['AFTER'] must be a number of seconds"),
        ({"MAIL_ADMINS": True, "AFTER": "secret"}, "['AFTER'] must be a number of seconds"),
        ({"AFTER": 5}, "names nobody to tell"),
    ],
)
def test_wrong_setting_is_refused(settings: Any, given: dict[str, Any], problem: str) -> None:
    settings.DJANGO_JOBS = {"ALERTS": given}
    found = [each for each in run_checks(tags=["django_jobs"]) if each.id == "django_jobs.E029"]
    assert any(problem in each.msg for each in found)
    assert all("secret" not in f"{each.msg} {each.hint}" for each in found)


@pytest.mark.once
def test_mails_need_admins(settings: Any) -> None:
    settings.ADMINS = []
    turn_on(settings, MAIL_ADMINS=True)
    (found,) = (each for each in run_checks(tags=["django_jobs"]) if each.id == "django_jobs.E029")
    assert "ADMINS is empty" in found.msg
    # Django 6.0 takes addresses only.
    settings.ADMINS = ["ann@example.com" if VERSION >= (6,) else ("Ann", "ann@example.com")]
    turn_on(settings, MAIL_ADMINS=True, WEBHOOK="https://hooks.slack.com/services/x")
    assert not [each for each in run_checks(tags=["django_jobs"]) if each.id == "django_jobs.E029"]


@pytest.mark.django_db
def test_queues_whose_names_differ_in_case_have_alerts_of_their_own(
    settings: Any, new_worker: Callable[..., Any]
) -> None:
    turn_on(settings, MAIL_ADMINS=True)
    new_worker()
    for name in ("Mail", "mail"):
        Queue.objects.create(name=name, paused_at=timezone.now())
        make(status=Status.PENDING, queue=name)
    look()
    keys = ["queue:paused:Mail", "queue:paused:mail"]
    assert sorted(RaisedAlert.objects.values_list("key", flat=True)) == keys
