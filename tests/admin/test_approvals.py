"""The admin's pages of questions: who sees them, who decides, and what is never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import JobContext, answer, control, job
from django_jobs.metrics import cache
from django_jobs.models import Approval, Job
from django_jobs.status import Status
from django_jobs.testing import run_jobs
from tests.admin.test_jobs import messages_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

LIST = "/admin/django_jobs/approval/"
DASHBOARD = "/admin/django_jobs/dashboard/"


def asking(question: str = "Refund 4,000 €?", *args: Any, **options: Any) -> Any:
    """Enqueue a job that asks, and run it until it does."""

    @job(name="tests.asks", bind=True, sensitive=("code",))
    def asks(self: JobContext, code: str = "") -> str:
        return self.ask(question, **options).choice

    result = asks.delay(*args)
    run_jobs()
    assert state(result) == Status.WAITING
    return result


def state(result: Any) -> str:
    return Job.objects.get(pk=result.uuid).status


def page(result: Any) -> str:
    return f"{LIST}{Approval.objects.filter(job=result.uuid).latest('id').pk}/"


def job_page(result: Any) -> str:
    return f"/admin/django_jobs/job/{result.id}/change/"


def html(client: Client, url: str) -> str:
    return client.get(url).content.decode()


# --- what is shown --------------------------------------------------------------------------------


def test_page_lists_the_open_questions(boss: Client) -> None:
    assert "No job waits for a person." in html(boss, LIST)
    result = asking()
    text = html(boss, LIST)
    assert "Refund 4,000 €?" in text
    assert "django_jobs.answer_approval" in text
    assert job_page(result) in text
    assert text.count('name="choice"') == 2
    answer(result.id, "approve")
    assert "No job waits for a person." in html(boss, LIST)


def test_revoked_job_asks_nobody_any_more(boss: Client) -> None:
    result = asking()
    control.revoke([result.id])
    assert "No job waits for a person." in html(boss, LIST)
    assert "not answered" in html(boss, job_page(result))


def test_dashboard_counts_the_open_questions(boss: Client) -> None:
    def tiles() -> list[tuple[str, str]]:
        cache.clear()
        every = boss.get(DASHBOARD).context["tiles"]
        return [(tile["value"], tile["url"]) for tile in every if tile["url"] == LIST]

    assert tiles() == []
    asking()
    assert tiles() == [("1", LIST)]


def test_secret_arguments_are_shown_nowhere(boss: Client) -> None:
    result = asking("Open with hunter2-top?", "hunter2-top")
    for url in (LIST, page(result), job_page(result)):
        text = html(boss, url)
        assert "Open with ********?" in text
        assert "hunter2-top" not in text
    answer(result.id, "approve", "it is hunter2-top")
    assert "hunter2-top" not in html(boss, job_page(result))


def test_list_reads_as_much_for_many_questions(boss: Client) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            boss.get(LIST)
        return len(captured)

    asking()
    few = statements()
    for _ in range(5):
        asking()
    assert statements() == few


def test_job_page_shows_who_decided(boss: Client) -> None:
    result = asking()
    assert html(boss, job_page(result)).count('name="choice"') == 2
    answer(result.id, "reject", "no receipt", by="bob")
    text = html(boss, job_page(result))
    assert 'name="choice"' not in text
    for told in ("Refund 4,000 €?", "reject", "bob", "no receipt"):
        assert told in text


# --- deciding -------------------------------------------------------------------------------------


def test_button_decides(boss: Client) -> None:
    result = asking()
    response = boss.post(page(result), {"choice": "approve", "next": LIST}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "You decided: approve. The job goes on." in messages_of(response)
    run_jobs()
    assert (state(result), Job.objects.get().result) == (Status.SUCCESS, "approve")
    assert Approval.objects.get().decided_by == "ann"
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(result.id), "Decided: approve.")


def test_form_of_a_question_is_filled_in(boss: Client) -> None:
    result = asking(form={"amount": int, "why": ["late", "broken"]})
    assert 'name="choice"' not in html(boss, LIST)
    assert "Answer…" in html(boss, LIST)
    for values in ({}, {"form_amount": "many", "form_why": "late"}, {"form_amount": "3"}):
        response = boss.post(page(result), {"choice": "approve", **values})
        assert response.status_code == 200
        assert state(result) == Status.WAITING
    boss.post(
        page(result),
        {"choice": "approve", "comment": "yes", "form_amount": "3", "form_why": "late"},
    )
    row = Approval.objects.get()
    assert (row.choice, row.comment, row.answers) == (
        "approve",
        "yes",
        {"amount": 3, "why": "late"},
    )


def test_get_decides_nothing(boss: Client) -> None:
    result = asking()
    assert "Refund" in html(boss, f"{page(result)}?choice=approve")
    assert state(result) == Status.WAITING


def test_unknown_choice_decides_nothing(boss: Client) -> None:
    result = asking()
    assert boss.post(page(result), {"choice": "maybe"}).status_code == 200
    assert state(result) == Status.WAITING


def test_second_decision_is_told_the_first(boss: Client) -> None:
    result = asking()
    answer(result.id, "reject", by="bob")
    response = boss.post(page(result), {"choice": "approve"}, follow=True)
    assert "bob has decided already: reject." in messages_of(response)
    assert Approval.objects.get().choice == "reject"


def test_other_site_is_not_returned_to(boss: Client) -> None:
    response = boss.post(page(asking()), {"choice": "approve", "next": "https://evil.example/"})
    assert response["Location"] == LIST


def test_unknown_question_is_not_found(boss: Client) -> None:
    assert boss.get(f"{LIST}999/").status_code == 404


# --- permissions ----------------------------------------------------------------------------------


def test_anonymous_is_sent_to_the_login(client: Client) -> None:
    result = asking()
    for url in (LIST, page(result)):
        assert client.get(url)["Location"].startswith("/admin/login/")
    client.post(page(result), {"choice": "approve"})
    assert state(result) == Status.WAITING


@pytest.mark.parametrize(
    ("granted", "sees", "decides"),
    [
        ((), 403, False),
        (("view_job", "answer_approval"), 403, False),
        (("view_approval",), 200, False),
        (("view_approval", "answer_approval"), 200, False),
        (("retry_job",), 403, True),
        (("view_approval", "retry_job"), 200, True),
    ],
)
def test_decision_needs_the_permission_of_the_question(
    client_of: Callable[..., Client], granted: tuple[str, ...], sees: int, decides: bool
) -> None:
    client = client_of(*granted)
    result = asking(permission="django_jobs.retry_job")
    response = client.get(LIST)
    assert response.status_code == sees
    if sees == 200:
        assert ('name="choice"' in response.content.decode()) == decides
    response = client.post(page(result), {"choice": "approve"})
    assert response.status_code == (302 if decides else 403)
    assert (state(result) == Status.WAITING) is not decides
    assert LogEntry.objects.exists() is decides


def test_job_page_offers_buttons_to_those_who_may(client_of: Callable[..., Client]) -> None:
    client = client_of("view_job")
    result = asking()
    text = html(client, job_page(result))
    assert "Refund 4,000 €?" in text
    assert 'name="choice"' not in text
    assert User.objects.count() == 1
