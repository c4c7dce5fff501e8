"""The steps of a job on its page and in ``jobs show``, and the retry from one of them."""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_jobs import job, step
from django_jobs.admin import job_targets
from django_jobs.control.events import awaited_events
from django_jobs.define.context import JobContext
from django_jobs.display import step_text
from django_jobs.metrics import step_numbers
from django_jobs.models import Event, EventWait, Job, Step
from django_jobs.values import Outcome

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]
LIST = "/admin/django_jobs/job/"
SECRET = "hunter2-top"


@step(sensitive=("pin",))
def charge(card: str) -> dict[str, Any]:
    return {"pin": "9274-secret", "card": card, "lines": list(range(40))}


def ship(card: str) -> None:
    raise ValueError(f"no lorry for <{card}>")


@pytest.fixture
def order(registered: Any) -> Any:
    @job(bind=True, sensitive=("card",))
    def order(self: JobContext, card: str) -> None:
        charge(card)
        self.step("ship", ship, card)

    return order


@pytest.fixture
def failed(order: Any, work: Work) -> Job:
    result = order.delay(SECRET)
    work()
    assert result.status == "FAILURE"
    row: Job = Job.objects.get()
    return row


def page(row: Job) -> str:
    return reverse("admin:django_jobs_job_change", args=[row.pk])


def text_of(client: Client, row: Job) -> str:
    html = client.get(page(row)).content.decode()
    (part,) = re.findall(r'data-region="steps">(.*?)<div data-region', html, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part))


def shown(*options: str) -> str:
    out = io.StringIO()
    call_command("jobs", *options, stdout=out)
    return out.getvalue()


def post(client: Client, row: Job, **more: str) -> Any:
    data = {"action": "retry_from", "index": "0", "_selected_action": str(row.pk), **more}
    return client.post(LIST, data, follow=True)


def test_page_shows_the_steps_without_secrets(boss: Client, failed: Job) -> None:
    text = text_of(boss, failed)
    assert re.search(r"charge done .*charge .*pin", text)
    assert re.search(r"ship failed .*ValueError: no lorry for", text)
    html = boss.get(page(failed)).content.decode()
    assert html.count("no lorry for") >= 2
    assert SECRET not in html
    assert "9274-secret" not in html
    assert "<********>" not in html


def test_page_of_a_job_without_steps_has_no_such_part(boss: Client, work: Work) -> None:
    from tests.jobs import add

    add.delay(1, 2)
    work()
    html = boss.get(page(Job.objects.get())).content.decode()
    assert '<div data-region="steps"></div>' in html
    assert "jobs-steps-heading" not in html
    assert 'value="retry_from"' not in re.findall(r"jobs-operations.*?</div>", html, re.DOTALL)[0]


def test_page_says_until_when_a_job_waits(boss: Client, registered: Any, work: Work) -> None:
    @job(bind=True)
    def patient(self: JobContext) -> None:
        self.sleep(days=3)

    patient.delay()
    work()
    assert re.search(r"sleep waiting until 20\d\d-", text_of(boss, Job.objects.get()))


def test_page_shows_the_last_of_many_steps_with_two_statements_at_most(
    boss: Client, registered: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job(bind=True)
    def long(self: JobContext, number: int) -> None:
        for each in range(number):
            self.step(f"step {each}", int, each)

    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert boss.get(page(Job.objects.latest("pk"))).status_code == 200
        return len(queries)

    monkeypatch.setattr(step_text, "MOST_STEPS", 3)
    for number in (0, 1, 4):
        long.delay(number)
        work()
        if number == 0:
            without = statements()
    assert statements() - without == 1
    text = text_of(boss, Job.objects.latest("pk"))
    assert "1 earlier step is not shown." in text
    assert "step 1" in text
    assert "step 0" not in text


def test_retry_from_a_step_asks_first_and_is_logged(boss: Client, failed: Job) -> None:
    html = post(boss, failed).content.decode()
    assert re.findall(r'<option value="([^"]*)"', html) == ["", "charge", "ship"]
    failed.refresh_from_db()
    assert failed.status == "FAILURE"
    post(boss, failed, confirmed="1", **{"retry-step": "ship"})
    failed.refresh_from_db()
    assert failed.status == "PENDING"
    assert list(Step.objects.values_list("key", flat=True)) == ["charge"]
    assert LogEntry.objects.get().change_message == "Retried from step ship."


def test_retry_from_the_start_forgets_all(boss: Client, failed: Job) -> None:
    post(boss, failed, confirmed="1", **{"retry-step": ""})
    failed.refresh_from_db()
    assert (failed.status, Step.objects.count()) == ("PENDING", 0)
    assert LogEntry.objects.get().change_message == "Retried from the start."


def test_retry_from_an_unknown_step_changes_nothing(boss: Client, failed: Job) -> None:
    html = post(boss, failed, confirmed="1", **{"retry-step": "gone"}).content.decode()
    assert "Select a valid choice" in html
    failed.refresh_from_db()
    assert (failed.status, Step.objects.count()) == ("FAILURE", 2)


def test_retry_from_a_step_needs_the_permission_to_retry(
    client_of: Callable[..., Client], failed: Job
) -> None:
    client = client_of("view_job", "revoke_job")
    assert 'value="retry_from"' not in client.get(page(failed)).content.decode()
    post(client, failed, confirmed="1", **{"retry-step": ""})
    failed.refresh_from_db()
    assert (failed.status, Step.objects.count()) == ("FAILURE", 2)


def test_command_shows_the_steps(failed: Job) -> None:
    text = shown("show", str(failed.pk))
    assert re.search(r"^STEP +STATE +FUNCTION", text, re.MULTILINE)
    assert re.search(r"^charge +DONE", text, re.MULTILINE)
    assert re.search(r"^ship +FAILED .*ValueError", text, re.MULTILINE)
    assert SECRET not in text
    assert "9274-secret" not in text
    steps = json.loads(shown("show", str(failed.pk), "--json"))["steps"]
    assert [(each["key"], each["state"], each["position"]) for each in steps] == [
        ("charge", "DONE", 1), ("ship", "FAILED", 2),
    ]  # fmt: skip
    assert steps[0]["result"]["pin"] == "********"


def test_command_retries_from_a_step_or_the_start(failed: Job) -> None:
    with pytest.raises(CommandError, match="not both"):
        shown("retry", str(failed.pk), "--from-step", "ship", "--from-start")
    assert "has no such step" in shown("retry", str(failed.pk), "--from-step", "sihp")
    assert shown("retry", str(failed.pk), "--from-step", "ship").strip() == "1 retried"
    assert list(Step.objects.values_list("key", flat=True)) == ["charge"]
    Job.objects.update(status="FAILURE")
    shown("retry", str(failed.pk), "--from-start")
    assert Step.objects.count() == 0


@pytest.fixture
def waiting(registered: Any, work: Work) -> Job:
    @job(bind=True)
    def patient(self: JobContext, order: int) -> Any:
        return self.wait_for_event(f"paid:{order}")

    patient.delay(7)
    work()
    row: Job = Job.objects.get()
    assert row.status == "WAITING"
    return row


def send(client: Client, row: Job, **more: str) -> str:
    data = {"action": "send_event", "index": "0", "_selected_action": str(row.pk), **more}
    html: str = client.post(LIST, data, follow=True).content.decode()
    return html


@pytest.mark.django_db(transaction=True)
def test_event_is_sent_by_hand(boss: Client, waiting: Job, work: Work) -> None:
    assert 'value="send_event"' in boss.get(page(waiting)).content.decode()
    assert '<option value="paid:7"' in send(boss, waiting)
    answers = {"event-event": "paid:7", "confirmed": "1"}
    html = send(boss, waiting, **answers, **{"event-payload": '{"euros": '})
    assert "This is not JSON: see line 1, column 10." in html
    waiting.refresh_from_db()
    assert waiting.status == "WAITING"
    send(boss, waiting, **answers, **{"event-payload": '{"euros": 20}'})
    assert [each.value for each in work()] == [{"euros": 20}]
    assert LogEntry.objects.get().change_message == "Sent the event paid:7."


def test_event_by_hand_is_not_kept_for_jobs_that_wait_later(
    waiting: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited = awaited_events([waiting.pk])
    EventWait.objects.all().delete()  # another sender was quicker
    monkeypatch.setattr(job_targets.events, "awaited_events", lambda ids: awaited)
    job_targets.sending("paid:7", 20).run([waiting.pk], "default", lambda jobs: None)
    assert not Event.objects.filter(expires_at__gt=timezone.now()).exists()
    assert Event.objects.exists()


def test_event_is_sent_only_with_the_permission(
    client_of: Callable[..., Client], waiting: Job, work: Work
) -> None:
    client = client_of("view_job", "retry_job", "revoke_job", "enqueue_job")
    assert 'value="send_event"' not in client.get(page(waiting)).content.decode()
    send(client, waiting, **{"event-event": "paid:7", "confirmed": "1"})
    assert work() == []
    waiting.refresh_from_db()
    assert waiting.status == "WAITING"


def test_job_that_waits_for_no_event_has_no_such_button(boss: Client, failed: Job) -> None:
    assert 'value="send_event"' not in re.findall(
        r"jobs-operations.*?</div>", boss.get(page(failed)).content.decode(), re.DOTALL
    )[0]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_command_sends_an_event(
    waiting: Job, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="not JSON"):
        shown("send-event", "paid:7", "--payload", "{")
    with pytest.raises(CommandError, match="1 to 200 characters"):
        shown("send-event", "x" * 201)
    assert work() == []
    assert shown("send-event", "paid:7", "--payload", "[1]").strip() == "Sent the event paid:7."
    assert capsys.readouterr().err == ""
    assert [each.value for each in work()] == [[1]]


def test_page_of_a_function_has_the_numbers_of_its_steps(
    boss: Client, order: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cells() -> list[list[str]]:
        html = boss.get(reverse("admin:django_jobs_function_change", args=[order.name])).content
        part = html.decode().partition('id="jobs-steps"')[2].partition("</section>")[0]
        found = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", part)
        return [[name, *re.findall(r"<td>(.*?)</td>", rest)[:3]] for name, rest in found]

    assert cells() == []
    for _ in range(3):
        order.delay("x")
    work()
    here = "tests.admin.test_steps"
    assert cells() == [[f"{here}.charge", "3", "0", "0"], [f"{here}.ship", "0", "3", "0"]]
    monkeypatch.setattr(step_numbers, "MOST_READ", 2)
    assert cells() == [[f"{here}.charge", "1", "0", "0"], [f"{here}.ship", "0", "1", "0"]]


def test_percentiles_of_a_step() -> None:
    seconds = [datetime.timedelta(seconds=each) for each in (4, 1, 3, 2)]
    numbers = step_numbers.StepNumbers("call", "f", durations=seconds)
    shares = [numbers.percentile(share) for share in (0.0, 0.5, 0.95, 1.0)]
    assert [each and each.total_seconds() for each in shares] == [1, 3, 4, 4]
    assert step_numbers.StepNumbers("call", "f").percentile(0.5) is None
