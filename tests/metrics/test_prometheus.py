"""What Prometheus reads: text, access, counters that never fall, and a real server's queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries

from django_jobs import JobContext, step
from django_jobs import job as define
from django_jobs.checks import check_settings
from django_jobs.control import pause_queue
from django_jobs.db import clock, unix_time
from django_jobs.maintenance import rollup
from django_jobs.metrics import cache
from django_jobs.metrics.collector import Collector, append, minute_of
from django_jobs.metrics.history import totals
from django_jobs.models import Job, Measurement, Queue, Schedule, Worker
from django_jobs.models.histogram import MOST_ERRORS, MOST_STEPS, OTHERS, Errors, Steps, Tally
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed
from tests import jobs
from tests.ports import free_port
from tests.waiting import LONG
from tests.written import written

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
TOKEN = "a token of 24 characters"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def opened(settings: Any) -> None:
    settings.DJANGO_JOBS = {"METRICS_TOKEN": TOKEN}
    cache.clear()


@pytest.fixture
def measured(take: Callable[..., list[Claimed]], worker: Worker) -> None:
    """Two jobs that succeeded, one that failed, one revoked, one that is ready."""
    collector = Collector()
    collector.synchronize("default")
    jobs.add.delay_many([(1,), (2,)])
    jobs.fail.delay()
    jobs.add.delay(3).revoke()
    claimed = take()
    collector.claimed(claimed)
    outcomes = [execute(job, Environment()) for job in claimed]
    collector.ended(record(worker.pk, outcomes, "default"))
    collector.flush("default")
    jobs.send.delay(1)


def scrape(client: Client) -> Samples:
    cache.clear()
    response = client.get(reverse("django_jobs:metrics"), headers=bearer(TOKEN))
    assert response.status_code == 200
    return {
        (sample.name.removeprefix("django_jobs_"), tuple(sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def job(samples: Samples, metric: str, name: str, queue: str = "default", **more: str) -> float:
    labels = {"name": f"tests.jobs.{name}", "queue": queue, **more}
    return samples[metric, tuple(sorted(labels.items()))]


# --- what it tells ------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.usefixtures("measured")
def test_counters_histograms_and_gauges(client: Client, new_worker) -> None:
    pause_queue("mail")
    new_worker(lost_at=clock("default"))
    Queue.objects.filter(name="mail").update(target_seconds=90)
    samples = scrape(client)
    assert job(samples, "job_sent_total", "add") == 3
    assert job(samples, "job_started_total", "add") == 2
    assert job(samples, "job_succeeded_total", "add") == 2
    assert job(samples, "job_revoked_total", "add") == 1
    assert job(samples, "job_retried_total", "fail") == 0
    assert job(samples, "job_rescued_total", "fail") == 0
    assert job(samples, "job_failed_total", "fail", exception="builtins.ValueError") == 1
    assert job(samples, "job_runtime_seconds_count", "add") == 2
    assert job(samples, "job_wait_seconds_bucket", "add", le="+Inf") == 2
    assert job(samples, "job_wait_seconds_sum", "add") > 0
    assert samples["queue_length", (("queue", "mail"),)] == 1
    assert samples["queue_paused", (("queue", "mail"),)] == 1
    assert samples["queue_oldest_seconds", (("queue", "mail"),)] >= 0
    targets = {key: value for key, value in samples.items() if key[0] == "queue_target_seconds"}
    assert targets == {("queue_target_seconds", (("queue", "mail"),)): 90}
    assert samples["jobs", (("status", "PENDING"),)] == 1
    assert samples["waiting", (("reason", "paused"),)] == 1
    assert samples["waiting", (("reason", "queued"),)] == 0
    assert samples["active_workers", ()] == 1
    assert samples["lost_workers", ()] == 1
    assert samples["beat_lag_seconds", ()] == 0


@pytest.mark.django_db
@pytest.mark.usefixtures("measured")
def test_as_many_statements_with_more_jobs(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def ask() -> None:
        cache.clear()
        client.get(reverse("django_jobs:metrics"), headers=bearer(TOKEN))

    with CaptureQueriesContext(connection) as asked:
        ask()
    assert len(asked) <= 10
    jobs.send.delay_many([(number,) for number in range(50)])
    now = minute_of(unix_time("default"))
    append({now: {("mail", f"f{number}"): Tally(succeeded=1) for number in range(50)}}, "default")
    with django_assert_num_queries(len(asked)):
        ask()


@pytest.mark.django_db
@pytest.mark.usefixtures("measured")
def test_openmetrics_is_served_if_it_is_accepted(client: Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    headers = {**bearer(TOKEN), "Accept": accept}
    response = client.get(reverse("django_jobs:metrics"), headers=headers)
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")
    assert "no-cache" in response["Cache-Control"]


@pytest.mark.django_db
def test_counters_never_fall(client: Client) -> None:
    """Through flushes, rolling up and pruning, whatever the age of what is written."""
    now, holder = int(unix_time("default")), uuid4()
    last = 0.0
    for age in (10, 200, 5_000, 100_000, 16 * 86_400, 10):
        tally = Tally(succeeded=5, failed=1)
        tally.errors_of(f"E{age}").add(Errors(1, now, str(uuid4())))
        append({minute_of(now - age): {("default", "tests.jobs.add"): tally}}, "default")
        for _ in range(3):
            found = job(scrape(client), "job_succeeded_total", "add")
            assert found == max(last, found)
            last = found
            rollup.run_once("default", holder)
    assert last == 30
    assert Measurement.objects.filter(starts_at__lt=now - 15 * 86_400, seconds__gt=0).count() == 0
    assert job(scrape(client), "job_failed_total", "add", exception="E10") == 2
    assert job(scrape(client), "job_failed_total", "add", exception="E1382400") == 1


@pytest.mark.django_db
def test_calls_of_steps_are_counted_by_function_and_outcome(
    client: Client, registered: Any, work: Any
) -> None:
    @step(name="shop.charge")
    def charge(order: str) -> str:
        return order

    @step(name="shop.ship", retries=1, backoff=0.0)
    def ship() -> None:
        raise ValueError

    @define(name="shop.pay", bind=True)
    def pay(self: JobContext) -> None:
        for order in ("4111 a", "4111 b"):
            self.step(f"charge {order}", charge, order)
        ship()

    collector = Collector()
    collector.synchronize("default")
    pay.delay()
    for _ in range(2):
        collector.ended(work())
        Job.objects.update(status="PENDING")
    collector.flush("default")
    rollup.run_once("default", uuid4())
    samples = scrape(client)

    def calls(function: str) -> list[float]:
        labels = {"name": "shop.pay", "queue": "default", "step": function}
        outcomes = [{"outcome": each} for each in ("done", "failed", "retried")]
        return [
            samples["step_calls_total", tuple(sorted((labels | each).items()))] for each in outcomes
        ] + [
            samples["step_runtime_seconds_count", tuple(sorted(labels.items()))],
            samples["step_runtime_seconds_sum", tuple(sorted(labels.items()))],
        ]

    assert calls("shop.ship")[:-1] == [0, 1, 1, 2]
    *charged, seconds = calls("shop.charge")
    assert charged == [2, 0, 0, 2]
    assert seconds > 0
    # Not in the values: a random one has these digits now and then.
    assert "4111" not in str(samples.keys())


@pytest.mark.django_db
def test_too_many_steps_keep_their_counters() -> None:
    now, key = int(unix_time("default")), ("default", "f")
    for age in (300, 300, 10):
        tally = Tally()
        for number in range(MOST_STEPS + 5):
            tally.steps_of(f"step {number}").add(Steps(done=1, seconds=0.5))
        append({minute_of(now - age): {key: tally}}, "default")
        rollup.run_once("default", uuid4())
    found = totals()[key].steps
    assert len(found) == MOST_STEPS + 1
    assert found["step 0"] == Steps(done=3, seconds=1.5)
    assert found[OTHERS] == Steps(done=15, seconds=7.5)


@pytest.mark.django_db
def test_too_many_errors_keep_their_counters() -> None:
    """Which classes are counted apart does not change when rows become part of the total."""
    now, key = int(unix_time("default")), ("default", "f")

    def fail(first: int, age: int) -> None:
        tally = Tally(failed=40)
        for number in range(first, first + 40):
            tally.errors_of(f"E{number}").count += 1
        append({minute_of(now - age): {key: tally}}, "default")

    def counts() -> dict[str, int]:
        return {name: errors.count for name, errors in totals()[key].errors.items()}

    fail(0, 300)
    rollup.run_once("default", holder := uuid4())
    fail(30, 300)
    before = counts()
    rollup.run_once("default", holder)
    assert counts() == before
    assert len(before) == MOST_ERRORS + 1
    assert sum(before.values()) == 80
    assert before[OTHERS] == 20


# --- who may read it ----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Authorization": TOKEN}])
def test_metrics_are_closed(client: Client, headers: dict[str, str]) -> None:
    response = client.get(reverse("django_jobs:metrics"), headers=headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert b"django_jobs_" not in response.content


@pytest.mark.django_db
@pytest.mark.parametrize("token", [None, ""])
def test_metrics_without_a_token_are_closed(client: Client, settings: Any, token: Any) -> None:
    settings.DJANGO_JOBS = {"METRICS_TOKEN": token}
    for headers in ({}, bearer(""), bearer("None")):
        response = client.get(reverse("django_jobs:metrics"), headers=headers)
        assert response.status_code == 401


@pytest.mark.django_db
def test_metrics_are_open_to_users_with_the_permission(client: Client) -> None:
    user = User.objects.create_user("joe", is_staff=True)
    client.force_login(user)
    assert client.get(reverse("django_jobs:metrics")).status_code == 401
    user.user_permissions.add(Permission.objects.get(codename="view_measurement"))
    assert client.get(reverse("django_jobs:metrics")).status_code == 200
    assert client.post(reverse("django_jobs:metrics")).status_code == 405


@pytest.mark.django_db
def test_short_token_is_an_error(settings: Any) -> None:
    settings.DJANGO_JOBS = {"METRICS_TOKEN": "secret"}
    (found,) = check_settings(None)
    assert found.id == "django_jobs.E010"
    assert "secret" not in found.msg


# --- a real Prometheus --------------------------------------------------------------------------


class Prometheus:
    """A server that scrapes one address every two seconds."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
            "rule_files": [str(MONITORING / "alerts.yml")],
            "scrape_configs": [
                {
                    "job_name": "django_jobs",
                    "metrics_path": reverse("django_jobs:metrics"),
                    "authorization": {"credentials": TOKEN},
                    "static_configs": [{"targets": [target]}],
                }
            ],
        }
        path = folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def query(self, expression: str) -> list[Any]:
        form = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/query", form, timeout=LONG
            ) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise  # it is starting
            pytest.fail(f"{expression}: {error.read().decode()}")
        assert answer["status"] == "success"
        found: list[Any] = answer["data"]["result"]
        return found

    def answers(self) -> bool:
        assert self.process.poll() is None, self.output()
        try:
            return bool(self.query('up{job="django_jobs"} == 1'))
        except OSError:
            return False

    def output(self) -> str:
        return written(self.log)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def prometheus(live_server: Any, tmp_path: Path) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus here: apt-get install prometheus")
    server = Prometheus(tmp_path, live_server.url.removeprefix("http://"))
    yield server
    server.stop()


def panel_queries() -> Iterator[tuple[str, str]]:
    board = json.loads((MONITORING / "grafana.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']}: {target['legendFormat']}", filled(target["expr"])


def filled(expression: str) -> str:
    for name, value in (("$__rate_interval", "1m"), ("$queue", ".*"), ("$name", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def alert_expressions() -> dict[str, str]:
    """The rules' expressions; without a library, as the tests need none for YAML."""
    text = (MONITORING / "alerts.yml").read_text()
    found = {}
    for rule in text.split("- alert: ")[1:]:
        expression = re.search(r"expr: (?:>\n)?(.+?)\n +(?:for|labels):", rule, re.DOTALL)
        assert expression
        found[rule.split("\n", 1)[0]] = " ".join(expression[1].split())
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("measured")
def test_every_panel_and_alert_finds_its_series(
    prometheus: Prometheus, until: Callable[..., None]
) -> None:
    # A job of "mail" is ready for longer than wanted, and no live worker takes it.
    Queue.objects.create(name="mail", target_seconds=0)
    Worker.objects.update(queues=["default"], lease_until=clock("default", 3600))
    Schedule.objects.create(
        name="s", job_name="tests.jobs.fail", kind="interval", interval_seconds=3600
    )
    until(prometheus.answers)
    more_counted()
    # A rate needs two scrapes between which something was counted.
    until(lambda: prometheus.query("sum(rate(django_jobs_job_failed_total[1m])) > 0"), 60)

    rules = alert_expressions()
    assert len(rules) == 9

    def seen() -> tuple[list[str], set[str]]:
        panels, alerts = panel_queries(), rules.items()
        return (
            [title for title, expression in panels if not prometheus.query(expression)],
            {name for name, expression in alerts if prometheus.query(expression)},
        )

    firing = {
        "DjangoJobsQueueWithoutWorker",
        "DjangoJobsQueueBehind",
        "DjangoJobsManyFailures",
        "DjangoJobsNoBeat",
    }
    # A scrape that takes too long leaves its series without a value until the next one.
    until(lambda: seen() == ([], firing), 60, found=seen)


def more_counted() -> None:
    tally = Tally(sent=5, succeeded=2, failed=3, retried=1)
    tally.measure([0.5] * 5, [0.1] * 5)
    tally.errors_of("builtins.ValueError").add(Errors(3, int(time.time()), str(uuid4())))
    now = minute_of(unix_time("default"))
    append({now: {("default", "tests.jobs.fail"): tally}}, "default")


def test_alert_rules_are_valid() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    rules = str(MONITORING / "alerts.yml")
    checked = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
