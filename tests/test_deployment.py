"""The files of the page "Deployment" are what the programs that read them expect."""

from __future__ import annotations

import configparser
import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from django_jobs.conf import Settings
from django_jobs.metrics.prometheus import JobsCollector
from tests import jobs
from tests.pages import DOCS, parser_of

pytestmark = pytest.mark.once

PAGE = (DOCS / "deployment.rst").read_text()
FILE = re.compile(r"^\.\. code-block:: \w+\n   :caption: (.+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)
FILES = {name: inspect.cleandoc(text) + "\n" for name, text in FILE.findall(PAGE)}
UNITS = [name for name in FILES if name.endswith(".service")]
# A cold stop takes up to 10 s more; docs/workers.rst wants 15 s.
NEEDED = Settings().shutdown_grace_seconds + 15
PROBE = re.compile(r"find (\S+) -mmin -2")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(FILES[name]))


def pods() -> dict[str, dict[str, Any]]:
    """The specifications of pods by the names of their objects."""
    objects = [each for name in ("mysite.yaml", "migrate.yaml") for each in documents(name)]
    return {
        each["metadata"].get("name", "migrate"): each["spec"]["template"]["spec"]
        for each in objects
    }


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of manage.py in the files."""
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            found = [
                list(yaml.safe_load(each)) for each in re.findall(r"command: (\[[^]]+\])", text)
            ]
        else:
            lines = re.findall(r"(?:python|python3) (manage\.py .+)", text)
            found = [["python", *shlex.split(line)] for line in lines]
        for words in found:
            if "manage.py" in words:
                yield name, words[words.index("manage.py") + 1 :]


def test_the_page_has_the_files() -> None:
    assert len(UNITS) == 3
    assert {"Procfile", "Dockerfile", "compose.yaml", "mysite.yaml", "scale.yaml"} <= set(FILES)
    names = {words[0] for _file, words in commands()}
    assert names == {"runworker", "runbeat", "migrate", "collectstatic"}
    assert names <= set(get_commands())


@pytest.mark.parametrize(("file", "words"), [*commands()], ids=str)
def test_command_of_file_parses(file: str, words: list[str]) -> None:
    if words[0] in ("runworker", "runbeat"):
        parser_of(words[0]).parse_args(words[1:])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    for program in ("python", "gunicorn"):
        (tmp_path / program).touch(mode=0o755)
    unit = tmp_path / Path(name).name
    unit.write_text(FILES[name].replace("/srv/mysite/venv/bin", str(tmp_path)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    # Units of the machine are read, too, and may have faults of their own.
    assert not [line for line in verified.stderr.splitlines() if unit.name in line]
    assert verified.returncode == 0


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_nginx_accepts_the_file(tmp_path: Path) -> None:
    text = FILES["/etc/nginx/conf.d/mysite.conf"]
    text = text.replace("listen 80;", f"listen unix:{tmp_path}/http;")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    whole = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {folders} {text} }}"
    (tmp_path / "nginx.conf").write_text(whole)
    tested = subprocess.run(
        ["nginx", "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr


def test_gunicorn_accepts_the_flags() -> None:
    config = pytest.importorskip("gunicorn.config", reason="needs gunicorn")
    lines = re.findall(r'gunicorn"?,? "?(mysite\.wsgi.+)', "\n".join(FILES.values()))
    assert len(lines) == 4
    for line in lines:
        words = re.sub(r'[",\]]', "", line).replace("$PORT", "8000").split()
        given = config.Config().parser().parse_args(words)
        assert given.args == ["mysite.wsgi"]
        assert given.bind[0].endswith(":8000")


def test_units_have_their_environment_and_time_to_stop() -> None:
    environment = next(text for name, text in FILES.items() if name.endswith(".env"))
    assert all(re.fullmatch(r"[A-Z_]+=\S+", line) for line in environment.splitlines())
    for name in UNITS:
        unit = configparser.ConfigParser()
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(FILES[name])
        service = unit["Service"]
        assert service["EnvironmentFile"] in FILES
        assert service["Restart"] == "always"
        if "runworker" in service["ExecStart"]:
            assert float(service["TimeoutStopSec"]) >= NEEDED
            assert service["KillMode"] == "mixed"
            folder = f"/run/{service['RuntimeDirectory']}/"
            assert f"--heartbeat-file {folder}" in service["ExecStart"]


def test_supervisor_waits_and_sends_term_to_the_supervisor_only() -> None:
    programs = configparser.ConfigParser()
    programs.read_string(FILES["/etc/supervisor/conf.d/mysite.conf"])
    worker = programs["program:mysite-worker"]
    assert worker["stopsignal"] == "TERM"
    assert worker.getint("stopwaitsecs") >= NEEDED
    assert not worker.getboolean("stopasgroup")
    assert not worker.getboolean("killasgroup")


def test_compose_starts_the_services_in_order_and_waits_for_jobs() -> None:
    services = documents("compose.yaml")[0]["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], name
    assert services["migrate"]["restart"] == "no"  # quoted: YAML takes a bare no for false
    worker = services["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) >= NEEDED
    probe = worker["healthcheck"]["test"][1]
    assert PROBE.findall(probe) == worker["command"][-1:]
    assert "$$(" in probe  # Compose would replace a single $


def test_pods_have_probes_and_time_to_stop() -> None:
    worker = pods()["mysite-worker"]
    assert worker["terminationGracePeriodSeconds"] >= NEEDED
    (container,) = worker["containers"]
    path = container["command"][container["command"].index("--heartbeat-file") + 1]
    for probe in ("startupProbe", "livenessProbe"):
        assert PROBE.findall(container[probe]["exec"]["command"][-1]) == [path]
    # The first touch may take as long as the first start.
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    assert "readinessProbe" not in container
    assert pods()["migrate"]["restartPolicy"] in ("Never", "OnFailure")


def test_deployments_select_their_pods() -> None:
    for each in documents("mysite.yaml"):
        assert each["apiVersion"] == "apps/v1"
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.django_db
def test_keda_scales_the_workers_by_a_metric_that_exists() -> None:
    (scaled,) = documents("scale.yaml")
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] in pods()
    # Workers promote scheduled jobs and fire schedules.
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    (name,) = re.findall(r"django_jobs_\w+", trigger["metadata"]["query"])
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert name in {metric.name for metric in JobsCollector().collect()}


def test_images_install_what_they_run() -> None:
    copied = re.findall(r"^COPY (\S+) \.$", FILES["Dockerfile"], re.MULTILINE)
    assert copied == ["requirements.txt", "."]
    assert "gunicorn" in FILES["requirements.txt"].split()


class NoRouter:
    """A router that must not be asked."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        raise AssertionError(f"{model} was read by way of the router")

    db_for_write = db_for_read


@pytest.mark.django_db
def test_calls_workers_and_results_ask_no_router(settings: Any, work: Any) -> None:
    settings.DATABASE_ROUTERS = [NoRouter()]
    result = jobs.add.delay(1, 2)
    assert result.status == "PENDING"
    work()
    assert result.get(timeout=0) == 3
