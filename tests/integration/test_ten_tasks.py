"""A person's ten tasks, played in a real browser: three clicks each at most, by mouse or keyboard.

A task begins on the dashboard or on a list, which a person has open. What is clicked can be reached
by a mouse and by the keyboard, which presses it.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import chain, job
from django_jobs.ids import uuid7
from django_jobs.metrics import cache
from django_jobs.models import Command, Job, Queue, Schedule
from django_jobs.status import Status
from tests.admin.test_dashboard import failed, measure
from tests.admin.test_jobs import make
from tests.integration.test_browser import DASHBOARD, Page, chromium, page

__all__ = ["chromium", "page"]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not (shutil.which("chromium") or shutil.which("google-chrome")),
        reason="no Chromium here: apt-get install chromium",
    ),
]

JOBS = "/admin/django_jobs/job/"
MOST_CLICKS = 3


class Person:
    """Clicks what can be seen, and counts."""

    def __init__(self, page: Page) -> None:
        self.page, self.clicks = page, 0

    def click(self, selector: str, then: str) -> None:
        """Press what *selector* finds, and wait until *then* is true of the page that comes."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.page.wait(f"{found} !== null")
        reached = (
            f"(() => {{ const it = {found}; it.scrollIntoView({{block: 'center'}});"
            "const box = it.getBoundingClientRect();"
            "const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);"
            "it.focus();"
            "return [it === top || it.contains(top), document.activeElement === it] })()"
        )
        assert self.page.run(reached) == [True, True], f"neither mouse nor keyboard: {selector}"
        self.press("Enter", 13)
        self.clicks += 1
        assert self.clicks <= MOST_CLICKS
        self.page.wait(f"document.readyState === 'complete' && Boolean({then})")

    def press(self, key: str, code: int) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.page.browser.call("Input.dispatchKeyEvent", type="keyDown", **names, **text)
        self.page.browser.call("Input.dispatchKeyEvent", type="keyUp", **names)

    def type(self, selector: str, text: str) -> None:
        self.page.run(f"document.querySelector({selector!r}).focus()")
        self.page.browser.call("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Choose from a list, which is a click."""
        self.clicks += 1
        self.page.run(
            f"{{ const it = document.querySelector({selector!r}); it.value = {value!r};"
            "for (const kind of ['input', 'change'])"
            "it.dispatchEvent(new Event(kind, {bubbles: true})) }"
        )

    def reads(self, selector: str, *texts: str) -> None:
        found = self.page.text(selector)
        assert [text for text in texts if text not in found] == [], found


def show(page: Page, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.call("Emulation.setDeviceMetricsOverride", **size)


@pytest.fixture
def person(page: Page) -> Iterator[Person]:
    cache.clear()
    show(page, 1600, 900)
    yield Person(page)
    page.browser.call("Emulation.clearDeviceMetricsOverride")


def at(path: str) -> str:
    return f"location.pathname.includes({path!r})"


@pytest.fixture
def broken(registered: dict[str, Any], work: Callable[..., Any]) -> Job:
    @job(name="broken", max_retries=0)
    def broken(number: int) -> None:
        raise ConnectionError("the other side is away")

    broken.delay_many([(number,) for number in range(3)])
    work()
    row = Job.objects.latest("pk")
    failed("builtins.ConnectionError", 3, "broken", sample=str(row.pk))
    return row


def test_why_did_it_fail_and_run_it_again(person: Person, broken: Job) -> None:
    person.page.open(DASHBOARD)
    person.click("[data-region=failures] tbody tr td a", at("/change/"))
    person.reads("#content", "ConnectionError", "the other side is away")
    person.click("button[name=action][value=retry]", "document.querySelector('.messagelist')")
    broken.refresh_from_db()
    assert (person.clicks, broken.status) == (2, Status.PENDING)


def test_retry_all_of_one_error(person: Person, broken: Job) -> None:
    person.page.open(DASHBOARD)
    person.click("[data-region=failures] tbody button", "document.querySelector('.jobs-confirm')")
    person.click(".jobs-confirm [type=submit]", at(DASHBOARD))
    assert set(Job.objects.values_list("status", flat=True)) == {Status.PENDING}


def test_pause_a_queue_see_it_hold_and_resume_it(person: Person) -> None:
    make(Status.PENDING)
    person.page.open(DASHBOARD)
    person.click("button[name=pause][value=default]", "document.querySelector('[name=resume]')")
    person.reads(".jobs-alerts", "is paused")
    assert Queue.objects.get().paused_at is not None
    row = "[data-region=queues] [value=default]"
    person.click(f"{row}[name=resume]", f"document.querySelector('{row}[name=pause]')")
    assert Queue.objects.get().paused_at is None
    assert person.clicks == 2


def test_what_does_this_worker_do_and_stop_it(person: Person, new_worker: Any) -> None:
    worker = new_worker()
    make(Status.STARTED, worker_id=worker.pk, args=[4711])
    person.page.open(DASHBOARD)
    person.click("[data-region=workers] tbody a", at("/worker/"))
    person.reads("[data-region=running]", "tests.jobs.add", "4711")
    person.click("button[value=shut_down]", "document.querySelector('.jobs-confirm')")
    person.click(".jobs-confirm [type=submit]", "document.querySelector('.messagelist')")
    assert Command.objects.get().name == "shutdown"


def test_schedule_a_job_function(person: Person, registered: Any) -> None:
    person.page.open("/admin/django_jobs/function/tests.jobs.add/")
    person.click("#content a[href*='schedule/add']", at("/schedule/add/"))
    assert person.page.run("document.querySelector('#id_job_name').value") == "tests.jobs.add"
    person.type("#id_name", "every hour")
    person.type("#id_argument_a", "1")
    person.choose("#id_kind", "interval")
    person.type("#id_every", "60")
    person.click("input[name=_save]", "document.querySelector('.messagelist')")
    schedule = Schedule.objects.get()
    assert (schedule.job_name, schedule.interval_seconds) == ("tests.jobs.add", 3600)
    assert (schedule.args, schedule.kwargs) == ([], {"a": 1})


def test_all_jobs_of_user_42(person: Person, registered: Any) -> None:
    row = make(Status.SUCCESS, name="tests.jobs.send", args=[42])
    make(Status.SUCCESS, name="tests.jobs.send", args=[43])
    person.page.open(JOBS)
    person.type("#searchbar", "args.user_id:42")
    person.press("Enter", 13)
    person.page.wait("location.search.includes('user_id') && document.readyState === 'complete'")
    rows = "document.querySelectorAll('#result_list tbody tr').length"
    assert (person.page.run(rows), person.clicks) == (1, 0)
    assert str(row.pk) in str(person.page.run("document.querySelector('#result_list').innerHTML"))


def test_where_a_workflow_broke(person: Person, drain: Any, registered: Any) -> None:
    from tests import jobs

    result = chain(jobs.add.s(1, 2), jobs.fail.s(), jobs.add.s(3)).apply_async()
    drain()
    person.page.open(f"{JOBS}{result.id}/change/")
    person.reads("#content", "UpstreamFailed")
    person.click(".jobs-graph a:has(.jobs-failure)", "document.querySelector('.jobs-graph')")
    person.reads("#content", "ValueError")


def test_throughput_of_one_function_over_24_hours(person: Person, registered: Any) -> None:
    measure("tests.jobs.add", succeeded=987, age=7200)
    person.page.open("/admin/django_jobs/function/")
    person.click("#content a[href*='tests.jobs.add/']", at("/tests.jobs.add/"))
    person.reads("#content", "987")


def test_today_against_yesterday(person: Person) -> None:
    measure("tests.jobs.add", succeeded=30, age=3600, seconds=600)
    measure("tests.jobs.add", succeeded=60, age=90_000, seconds=600)
    person.page.open(DASHBOARD)
    person.click("a[href*='window=24h']", "location.search.includes('24h')")
    person.reads(".jobs-tiles", "▼")


def test_delete_jobs_older_than_a_week(person: Person) -> None:
    eight_days = datetime.timedelta(days=8).total_seconds() * 1000
    old = type(uuid7())(int=uuid7().int - (int(eight_days) << 80))
    make(Status.SUCCESS, id=old, enqueued_at=timezone.now() - datetime.timedelta(days=8))
    new = make(Status.SUCCESS)
    person.page.open(JOBS)
    person.click("a[href*='age=over-week']", "location.search.includes('over-week')")
    person.click(".jobs-on-all [value=delete_selected]", "document.querySelector('.jobs-confirm')")
    person.reads("#content", "1 job")
    person.click(".jobs-confirm [type=submit]", "document.querySelector('.messagelist')")
    assert Job.objects.get().pk == new.pk


# --- small screens and accessibility ------------------------------------------------------------

# Findings of Django's own: the search field and the times have no labels, "Show all" no underline,
# "Today" and "Now" of Django 6.1 little contrast.
DJANGO_S = [
    ["#searchbar"], [".small > a"], [".vDateField"], [".vTimeField"], [".datetimeshortcuts"],
]  # fmt: skip
LOOK = """
window.found = null;
axe.run({include: [["#content"]], exclude: EXCLUDED}, {
  resultTypes: ["violations"],
  // This axe-core is older than aria-description.
  rules: {"aria-valid-attr": {enabled: false}},
}).then(({violations}) => {
  window.found = violations.map(({id, nodes}) => [id, nodes.map((node) => node.html)]);
});
0
"""


def axe() -> str:
    """Return axe-core, which finds what people with disabilities cannot use."""
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("no axe-core here: pip install axe-core-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text()


def test_pages_fit_a_phone_and_have_no_findings(
    person: Person, broken: Job, new_worker: Any, boss: Any
) -> None:
    script = axe()
    worker = new_worker()
    make(Status.STARTED, worker_id=worker.pk)
    show(person.page, 390, 844)
    wrong = {}
    for path in (
        "dashboard/", "job/", f"job/{broken.pk}/change/", "function/", "function/tests.jobs.add/",
        "queue/", "worker/", f"worker/{worker.pk}/change/", "schedule/", "schedule/add/",
    ):  # fmt: skip
        person.page.open(f"/admin/django_jobs/{path}")
        overflow = person.page.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        person.page.run(f"{script}; 0")
        person.page.run(LOOK.replace("EXCLUDED", json.dumps(DJANGO_S)))
        person.page.wait("window.found !== null")
        found = person.page.run("window.found")
        if found or overflow > 0:
            wrong[path] = (overflow, found)
    assert wrong == {}, json.dumps(wrong, indent=1)
