"""The demo site: sign-up and its activation mail."""

import datetime
import re
import smtplib

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from django_jobs.models import Job, Schedule
from testproject.accounts.activation import link_for
from testproject.accounts.jobs import count_accounts, remove_unconfirmed, send_activation
from testproject.accounts.models import Registration
from testproject.accounts.outbox import mails
from testproject.demo import add_schedules

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SIGN_UP = {
    "username": "ada",
    "email": "ada@example.com",
    "password1": "long enough 1",
    "password2": "long enough 1",
}


@pytest.mark.usefixtures("eager")
def test_sign_up_sends_a_link_that_activates(client: Client) -> None:
    html = client.post(reverse("sign-up"), SIGN_UP, follow=True).content.decode()
    assert "The mail was sent" in html
    link = re.search(r"http\S+", mail.outbox[0].body).group()
    assert not User.objects.get().is_active
    assert client.get(link).status_code == 200
    assert not User.objects.get().is_active
    client.post(link)
    assert User.objects.get().is_active
    assert client.get(reverse("home")).context["user"].username == "ada"


def test_sign_up_shows_the_mail_on_its_way(client: Client) -> None:
    html = client.post(reverse("sign-up"), SIGN_UP, follow=True).content.decode()
    assert "on its way" in html
    job = Job.objects.get()
    assert (job.queue, job.priority, job.args) == ("mail", 5, [Registration.objects.get().pk])
    assert SIGN_UP["password1"] not in str(vars(job))


def test_send_again_twice_enqueues_once(client: Client) -> None:
    client.post(reverse("sign-up"), SIGN_UP)
    client.post(reverse("send-again"))
    assert Job.objects.count() == 1


def test_registration_is_visible_to_its_owner_only(client: Client) -> None:
    client.post(reverse("sign-up"), SIGN_UP)
    assert Client().get(reverse("registration")).status_code == 404
    assert Client().get(reverse("registration-status")).status_code == 404


def test_activation_link_when_forged_is_refused(client: Client) -> None:
    registration = Registration.objects.create(user=User.objects.create(is_active=False))
    link = link_for(registration.pk)
    response = client.post(link[:-2] + ("A/" if link[-2] != "A" else "B/"))
    assert response.status_code == 404
    assert not User.objects.get().is_active


def test_send_activation_retries_when_mail_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def send(*args: object) -> None:
        calls.append(args)
        if len(calls) < 3:
            raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("testproject.accounts.jobs.send_mail", send)
    user = User.objects.create(username="ada", email="ada@example.com")
    registration = Registration.objects.create(user=user)
    result = send_activation.apply((registration.pk,))
    assert (result.get(), result.job.attempt) == ("ada@example.com", 3)


def test_scheduled_jobs_count_accounts_and_remove_those_that_nobody_confirmed() -> None:
    add_schedules()
    add_schedules()
    assert {row.job_name for row in Schedule.objects.all()} == {
        count_accounts.name, remove_unconfirmed.name,
    }  # fmt: skip
    for name, days, is_active in (("old", 4, False), ("new", 2, False), ("staff", 4, True)):
        user = User.objects.create(username=name, is_active=is_active)
        Registration.objects.create(user=user)
        Registration.objects.filter(user=user).update(
            created_at=timezone.now() - datetime.timedelta(days=days)
        )
    assert count_accounts() == {"users": 3, "waiting": 3}
    assert remove_unconfirmed() == 1
    assert set(User.objects.values_list("username", flat=True)) == {"new", "staff"}


def test_outbox_shows_the_newest_mail_first(client: Client, settings: Settings) -> None:
    line = b"\n" + b"-" * 79 + b"\n"
    for name in ("1.log", "2.log"):
        text = f"Subject: Mail of {name}\n\nHello <b>".encode()
        (settings.MAIL_DIR / name).write_bytes(text + line)
    assert [found["Subject"] for found in mails(settings.MAIL_DIR)] == [
        "Mail of 2.log",
        "Mail of 1.log",
    ]
    assert "Hello &lt;b&gt;" in client.get(reverse("outbox")).content.decode()


def test_outbox_is_closed_in_production(client: Client, settings: Settings) -> None:
    settings.DEBUG = False
    assert client.get(reverse("outbox")).status_code == 404
