"""The admin in a real browser: it renews itself, rests when hidden, and mends failures."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_jobs import job
from django_jobs.api.job import JobFunction
from django_jobs.metrics import snapshot
from django_jobs.models import Job, Queue
from django_jobs.status import Status
from docs.screenshots import Browser, browser
from tests.admin.test_dashboard import failed, measure
from tests.admin.test_jobs import make

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not (shutil.which("chromium") or shutil.which("google-chrome")),
        reason="no Chromium here: apt-get install chromium",
    ),
]

DASHBOARD = "/admin/django_jobs/dashboard/"


class Page:
    """A browser's page of the live site, as its superuser sees it."""

    def __init__(self, browser: Browser, site: str, until: Callable[..., None]) -> None:
        self.browser, self.site, self.until = browser, site, until

    def run(self, expression: str) -> Any:
        answer = self.browser.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path: str) -> None:
        self.browser.call("Page.navigate", url=self.site + path)
        self.wait(f"location.pathname === {path.partition('?')[0]!r}")
        self.wait("document.readyState === 'complete'")

    def wait(self, condition: str) -> None:
        self.until(lambda: self.run(condition))

    def text(self, selector: str) -> str:
        found = self.run(f"document.querySelector({selector!r})?.textContent ?? ''")
        return " ".join(str(found).split())

    def press(self, key: str) -> None:
        """Send a key to the focused element, as scripts see it."""
        self.run(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
            f" {{key: {key!r}, bubbles: true, cancelable: true}}))"
        )

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(
    chromium: Browser,
    live_server: Any,
    boss: Client,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Page]:
    # What a viewer sees is as old as his own last look.
    for name in ("CACHE_SECONDS", "STRIP_SECONDS"):
        monkeypatch.setattr(snapshot, name, 0)
    session = boss.cookies["sessionid"].value
    chromium.call("Network.clearBrowserCookies")
    chromium.call("Network.setCookie", name="sessionid", value=session, url=live_server.url)
    yield Page(chromium, live_server.url, until)
    # No request may be under way when the test's rows go.
    chromium.call("Page.navigate", url="about:blank")


@pytest.fixture
def flaky(registered: dict[str, Any]) -> JobFunction[..., Any, Any]:
    works: list[bool] = []

    @job(name="flaky", max_retries=0)
    def flaky(number: int) -> None:
        if not works:
            raise ConnectionError("the other side is away")

    flaky.works = works  # type: ignore[attr-defined]
    return flaky


READY = ".jobs-tile.jobs-pending strong"


def refresh_quickly(page: Page) -> None:
    page.run(
        "{ const choice = document.querySelector('[data-refresh-seconds]');"
        "  choice.add(new Option('quickly', '0.2')); choice.value = '0.2';"
        "  choice.dispatchEvent(new Event('change')) }"
    )


def test_chart_tells_its_values_by_keyboard_and_opens_their_jobs(page: Page) -> None:
    measure("shop.send", succeeded=3)
    page.open(DASHBOARD)
    page.run("document.querySelector('[data-chart=ended] .jobs-chart').focus()")
    for key, text in (("End", "succeeded 3"), ("ArrowLeft", "nothing ran"), ("End", "succeeded 3")):
        page.press(key)
        page.wait(f"document.querySelector('.jobs-tip').textContent.includes({text!r})")
    page.press("Escape")
    page.wait("!document.querySelector('.jobs-tip')")
    page.press("End")
    page.press("Enter")
    page.wait("location.search.startsWith('?ended=')")


def test_keys_lead_through_lists_and_to_pages(page: Page) -> None:
    rows = [make(Status.FAILURE) for _number in range(2)][::-1]
    page.open("/admin/django_jobs/job/")
    for key, row in (("j", rows[0]), ("j", rows[1]), ("j", rows[1]), ("k", rows[0])):
        page.press(key)
        assert str(row.pk) in page.run("document.activeElement.href")
    page.press("r")
    assert page.run("document.querySelector('select[name=action]').value") == "retry"
    assert page.run("document.querySelectorAll('input.action-select:checked').length") == 1
    assert page.run("document.activeElement.type") == "submit"
    page.press("/")
    assert page.run("document.activeElement.id") == "searchbar"
    page.press("?")  # somebody types it
    assert not page.run("document.querySelector('dialog')")
    page.run("document.activeElement.blur()")
    page.press("?")
    assert page.run("document.querySelector('dialog.jobs-keys').open")
    # A space does not switch the keys off.
    assert page.run("document.activeElement.textContent") == "Close"
    page.click("dialog.jobs-keys input")
    page.click("dialog.jobs-keys button")
    page.press("g")
    page.press("q")
    assert page.run("location.pathname") == "/admin/django_jobs/job/"  # they are off
    page.run("localStorage.clear()")
    page.press("g")
    page.press("q")
    page.wait("location.pathname === '/admin/django_jobs/queue/'")


def test_refresh_keeps_focus_and_open_details(page: Page, flaky: Any) -> None:
    flaky.delay(0)
    page.open(DASHBOARD)
    assert page.text(READY) == "1"
    assert page.run("!document.querySelector('[data-refresh]').hidden")
    page.run("document.querySelector('[data-key=table-ended]').open = true")
    page.run("document.querySelector('button[name=pause][value=default]').focus()")
    refresh_quickly(page)
    flaky.delay(1)
    page.wait(f"document.querySelector({READY!r}).textContent === '2'")
    assert page.run("document.querySelector('[data-key=table-ended]').open")
    page.wait("document.activeElement.value === 'default'")
    assert "No live worker runs" in page.text(".jobs-alerts")


def test_refresh_waits_while_text_is_selected(page: Page, flaky: Any) -> None:
    page.open(DASHBOARD)
    page.run("document.getSelection().selectAllChildren(document.querySelector('.jobs-tiles'))")
    refresh_quickly(page)
    flaky.delay(1)
    page.wait("document.querySelector('.jobs-alerts') !== null")
    assert page.text(READY) == "0"
    assert page.run("!document.getSelection().isCollapsed")
    page.run("document.getSelection().removeAllRanges()")
    page.wait(f"document.querySelector({READY!r}).textContent === '1'")


def test_hidden_page_does_not_refresh(page: Page, flaky: Any) -> None:
    page.open(DASHBOARD)
    page.run(
        "window.asked = 0; const get = window.fetch;"
        "window.fetch = (...all) => { window.asked += 1; return get(...all) };"
        "window.away = false;"
        "Object.defineProperty(document, 'hidden', {get: () => window.away});"
    )
    refresh_quickly(page)
    page.wait("window.asked > 0")
    page.run("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    asked = page.run("window.asked")
    # Five times the interval, by the page's own clock.
    page.run("window.rested = false; setTimeout(() => { window.rested = true }, 1000)")
    page.wait("window.rested")
    assert page.run("window.asked") <= asked + 1  # one may have been under way
    flaky.delay(1)
    page.run("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait(f"document.querySelector({READY!r}).textContent === '1'")


def test_ages_in_alerts_and_estimates_tick(page: Page, new_worker: Any) -> None:
    began = timezone.now() - datetime.timedelta(hours=10, seconds=30)
    new_worker(heartbeat_at=began)
    busy = new_worker(name="busy")
    third = {"done": 1, "total": 3}
    make(Status.STARTED, worker_id=busy.pk, progress=third, started_at=began)
    shown = {
        "/admin/django_jobs/worker/": (".jobs-alerts time", "10 h ago"),
        f"/admin/django_jobs/worker/{busy.pk}/change/": ("td time[data-since='2']", "20 h 1 min"),
    }
    for path, (selector, text) in shown.items():
        page.open(path)
        assert page.text(selector) == text
        page.run(f"document.querySelector({selector!r}).textContent = ''")
        page.wait(f"document.querySelector({selector!r}).textContent === {text!r}")


def test_lost_site_and_lost_session_are_reported(page: Page) -> None:
    page.open(DASHBOARD)
    page.run("window.fetch = () => Promise.reject(new TypeError('away'))")
    refresh_quickly(page)
    error = "document.querySelector('[data-refresh-error]').textContent"
    page.wait(f"{error}.includes('does not answer')")
    page.open(DASHBOARD)
    page.browser.call("Network.clearBrowserCookies")
    refresh_quickly(page)
    page.wait(f"{error}.includes('logged out')")


def test_failure_is_found_read_retried_and_mended(
    page: Page, flaky: Any, work: Callable[..., Any]
) -> None:
    flaky.delay_many([(number,) for number in range(3)])
    work()
    failed("builtins.ConnectionError", 3, "flaky", sample=str(Job.objects.latest("pk").pk))
    page.open(DASHBOARD)
    row = "[data-region=failures] tbody tr"
    assert page.text(f"{row} th") == "flaky"
    assert "ConnectionError" in page.text(row)
    page.click(f"{row} td:nth-child(11) a")
    page.wait("location.pathname.includes('/job/') && document.readyState === 'complete'")
    assert "the other side is away" in page.text("[data-region=attempts]")
    page.open(DASHBOARD)
    page.click(f"{row} button")
    page.wait("document.querySelector('.jobs-confirm') && document.readyState === 'complete'")
    assert "3 jobs were chosen" in page.text("#content")
    page.click(".jobs-confirm [type=submit]")
    page.wait(f"location.pathname === {DASHBOARD!r} && document.readyState === 'complete'")
    assert "3 jobs were changed." in page.text(".messagelist")
    flaky.works.append(True)
    work()
    assert set(Job.objects.values_list("status", flat=True)) == {Status.SUCCESS}
    refresh_quickly(page)
    page.wait("!document.querySelector('[data-region=failures] button')")


def test_selected_across_pages_in_the_list(page: Page, flaky: Any, work: Any) -> None:
    flaky.delay_many([(number,) for number in range(130)])
    work(limit=200)
    page.open("/admin/django_jobs/job/?status=FAILURE")
    page.click("#action-toggle")
    page.click(".actions .question a")
    page.run("document.querySelector('select[name=action]').value = 'retry'")
    page.click(".actions button[name=index]")
    page.wait("document.querySelector('.jobs-confirm') && document.readyState === 'complete'")
    assert "130 jobs were chosen" in page.text("#content")
    page.click(".jobs-confirm [type=submit]")
    page.wait("document.querySelector('.messagelist') !== null")
    assert Job.objects.filter(status=Status.PENDING).count() == 130


def test_queue_is_paused_from_the_dashboard(page: Page, flaky: Any) -> None:
    flaky.delay(1)
    page.open(DASHBOARD)
    page.click("button[name=pause][value=default]")
    page.wait("document.querySelector('button[name=resume][value=default]') !== null")
    assert Queue.objects.get().paused_by == "ann"


def test_list_refreshes_unless_rows_are_selected(page: Page, flaky: Any) -> None:
    rows = "document.querySelectorAll('#result_list tbody tr').length"
    counter = "document.querySelector('.action-counter').textContent"
    page.open("/admin/django_jobs/job/")
    refresh_quickly(page)
    flaky.delay_many([(number,) for number in range(3)])
    page.wait(f"{rows} === 3")
    page.run("document.querySelectorAll('.action-select')[1].click()")
    assert "1 of 3" in page.run(counter)  # Django's own script knows the new rows
    chosen = page.run("document.querySelector('.action-select:checked').value")
    flaky.delay(4)
    page.wait(
        "document.querySelector('.jobs-tabs .jobs-pending + .jobs-count').textContent === '4'"
    )
    assert page.run(rows) == 3
    assert page.run("document.querySelector('.action-select:checked').value") == chosen
    page.run("document.querySelector('#action-toggle').click()")
    assert "3 of 3" in page.run(counter)
    page.run("document.querySelector('#action-toggle').click()")
    page.wait(f"{rows} === 4")
    page.run("document.querySelector('#searchbar').focus()")
    page.run("document.querySelector('#searchbar').value = 'something'")
    flaky.delay(5)
    page.wait(f"{rows} === 5")
    assert page.run("document.activeElement.value") == "something"


# --- other themes -------------------------------------------------------------------------------


def take_theme_away(page: Page, dark: bool = False) -> None:
    """Leave the package's style sheets alone with a reset, as other themes of the admin do."""
    page.run(
        "{ for (const sheet of document.querySelectorAll('link[rel=stylesheet]'))"
        "    if (!sheet.href.includes('django_jobs')) sheet.remove();"
        "  const reset = document.createElement('style');"
        "  reset.textContent = '@layer base { * { border: 0; padding: 0 } }';"
        "  document.head.append(reset);"
        f"  document.documentElement.className = '{'dark' if dark else ''}' }}"
    )


def style(page: Page, selector: str, name: str) -> str:
    return str(page.run(f"getComputedStyle(document.querySelector({selector!r})).{name}"))


@pytest.mark.parametrize(
    ("dark", "link", "paper"),
    [(False, "rgb(65, 120, 147)", "rgb(248, 248, 248)"),
     (True, "rgb(129, 212, 250)", "rgb(33, 33, 33)")],
    ids=["light", "dark"],
)  # fmt: skip
def test_dashboard_has_its_colours_without_the_theme(
    page: Page, dark: bool, link: str, paper: str
) -> None:
    page.open(DASHBOARD)
    take_theme_away(page, dark)
    assert style(page, ".jobs-line.jobs-p50", "stroke") == link
    assert style(page, ".jobs-tile > *", "backgroundColor") == paper
    assert style(page, ".jobs-tile > *", "borderLeftWidth") == "1px"
    assert style(page, ".jobs-section th", "paddingTop") == "8px"


def test_fields_are_seen_without_the_theme(page: Page, flaky: Any) -> None:
    page.open("/admin/django_jobs/function/flaky/")
    take_theme_away(page)
    assert style(page, "input[name=queue]", "borderTopWidth") == "1px"
    assert style(page, "input[value=Enqueue]", "backgroundColor") == "rgb(116, 116, 116)"
