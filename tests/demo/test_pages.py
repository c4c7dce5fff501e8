"""The demo site: every page, while there is nothing and while jobs wait."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from testproject.accounts.jobs import send_activation
from testproject.airports.models import Report
from testproject.gallery.jobs import draw_samples, make_thumbnail

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PAGES = ("home", "gallery", "airports", "report", "sign-up", "login", "outbox")


@pytest.mark.parametrize("name", PAGES)
def test_page_of_empty_site_opens(client: Client, name: str) -> None:
    assert client.get(reverse(name)).status_code == 200


@pytest.mark.parametrize("name", PAGES)
def test_page_has_nothing_inline(client: Client, name: str) -> None:
    html = client.get(reverse(name)).content.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", html)


def test_page_says_what_happens_behind_with_links_into_the_admin(client: Client) -> None:
    html = client.get(reverse("gallery")).content.decode()
    assert "def make_thumbnail(picture_id: int)" in html
    assert reverse("admin:django_jobs_function_change", args=[make_thumbnail.name]) in html
    assert f"{reverse('admin:django_jobs_job_changelist')}?name={make_thumbnail.name}" in html


def test_home_lists_jobs_and_says_when_no_worker_runs(client: Client) -> None:
    draw_samples.delay(1, 1)
    html = client.get(reverse("home")).content.decode()
    assert "draw_samples" in html
    assert "No worker is running" in html
    assert client.get(reverse("home-status")).json()["message"] == "Now 1 pending."


def test_home_keeps_room_for_every_kind_of_job(client: Client) -> None:
    send_activation.delay(1)
    make_thumbnail.delay_many([(number,) for number in range(30)])
    html = client.get(reverse("home")).content.decode()
    assert html.count("make_thumbnail") == 4
    assert "send_activation" in html


def test_status_of_pruned_job_has_ended(client: Client) -> None:
    report = Report.objects.create()
    state = client.get(reverse("report-status", args=[report.pk])).json()
    assert (state["status"], state["ended"]) == ("GONE", True)
