"""The kit in a project of its own: Django's test runner and pytest, one process and several."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PLUGIN = "django_jobs.testing.pytest_plugin"

FILES = {
    "manage.py": """
        import os, sys
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "settings.py": """
        SECRET_KEY = "secret"
        USE_TZ = True
        INSTALLED_APPS = [
            "django.contrib.auth", "django.contrib.contenttypes", "django_jobs", "shop",
        ]
        import os
        DATABASES = {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": "other.sqlite3"},
        }
        if "IN_FILES" in os.environ:
            DATABASES["default"]["TEST"] = {"NAME": os.environ["IN_FILES"]}
        DJANGO_JOBS = {"QUEUES": {"other": {"DATABASE": "other"}}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    """,
    "shop/__init__.py": "",
    "shop/jobs.py": """
        from django.contrib.auth.models import Group
        from django_jobs import job

        @job(autoretry_for=[OSError], max_retries=1)
        def add_group(name):
            if name == "broken":
                raise OSError("no disk")
            Group.objects.create(name=name)

        @job(queue="other")
        def elsewhere(): ...
    """,
    "shop/tests.py": """
        import datetime
        from django.contrib.auth.models import Group
        from django.test import SimpleTestCase, TestCase, TransactionTestCase
        from django_jobs.testing import JobsTestMixin, captured_jobs, override_jobs
        from shop.jobs import add_group, elsewhere

        class Steps:
            def test_draining(self):
                add_group.delay("staff")
                self.assertEnqueued(add_group, args=["staff"], count=1)
                self.run_jobs()
                self.assertEqual(Group.objects.get().name, "staff")

            def test_retrying(self):
                add_group.delay("broken")
                with self.assertRaisesMessage(OSError, "no disk"):
                    self.run_jobs(at=datetime.timedelta(hours=1))

            def test_next_test_begins_anew(self):
                self.assertNotEnqueued()
                with self.captured_jobs(write=False):
                    add_group.delay("staff")
                    self.assertEnqueued(add_group)
                self.assertEqual(self.run_jobs(), [])

            @override_jobs(EAGER="raise")
            def test_eager(self):
                with self.assertRaises(OSError):
                    add_group.delay("broken")

            async def test_coroutine(self):
                await add_group.adelay("staff")
                await self.arun_jobs()
                self.assertEqual(await Group.objects.acount(), 1)

        class InTransaction(Steps, JobsTestMixin, TestCase): ...
        class InTransaction2(Steps, JobsTestMixin, TestCase): ...
        class Committing(Steps, JobsTestMixin, TransactionTestCase): ...

        class Simple(JobsTestMixin, SimpleTestCase):
            @captured_jobs(write=False)
            def test_no_database(self):
                add_group.delay("staff")
                self.assertEnqueued(add_group, args=["staff"])

        class Several(JobsTestMixin, TestCase):
            databases = {"default", "other"}

            def test_other_database(self):
                elsewhere.delay()
                add_group.delay("staff")
                self.assertEnqueued(elsewhere, queue="other")
                self.assertEqual(len(self.run_jobs()), 2)
    """,
    "shop/test_shop.py": """
        import pytest
        from django.contrib.auth.models import Group
        from shop.jobs import add_group

        @pytest.mark.django_db
        @pytest.mark.parametrize("number", range(4))
        def test_fixture(jobs, number):
            add_group.delay(f"staff {number}")
            jobs.assert_enqueued(add_group, count=1)
            (ran,) = jobs.run()
            assert ran.status == "SUCCESS"
            assert Group.objects.get().name == f"staff {number}"

        def test_without_a_database(jobs):
            with jobs.captured(write=False) as captured:
                add_group.delay("staff")
            jobs.assert_enqueued(add_group, among=captured)
            with jobs.captured(write=False):
                jobs.assert_not_enqueued(add_group)
    """,
}


LIVE = """
    import os
    import pytest
    from django.contrib.auth.models import Group
    from shop.jobs import add_group

    @pytest.mark.parametrize("number", range(2))
    def test_live_worker(live_worker, number):
        add_group.delay(f"staff {number}").get(timeout=300)
        assert Group.objects.get().name == f"staff {number}"
        assert live_worker.pid != os.getpid()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def run(folder: Path, *command: str, settings: str | None = "settings") -> str:
    """Run Python in *folder*, with warnings as errors; return what it wrote."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS")
        and not name.startswith("PYTEST_XDIST")
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    if settings:
        environment["DJANGO_SETTINGS_MODULE"] = settings
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.mark.parametrize("processes", ["1", "2"])
def test_django_s_runner(project: Path, processes: str) -> None:
    output = run(project, "-W", "error", "manage.py", "test", "--parallel", processes, "shop.tests")
    assert "Ran 17 tests" in output
    assert ("Cloning test database" in output) == (processes == "2")


@pytest.mark.parametrize("processes", ["0", "2"])
def test_pytest(project: Path, processes: str) -> None:
    files = ["shop/tests.py", "shop/test_shop.py"]
    output = run(
        project, "-m", "pytest", "-W", "error", "-p", PLUGIN, "-n", processes, "-q", *files
    )
    assert "22 passed" in output


def test_live_worker_beside_several_processes(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IN_FILES", str(tmp_path / "shop.sqlite3"))
    (project / "shop" / "test_live.py").write_text(textwrap.dedent(LIVE))
    output = run(
        project, "-m", "pytest", "-W", "error", "-p", PLUGIN, "-n", "2", "-q", "shop/test_live.py"
    )
    assert "2 passed" in output


def test_plugin_needs_no_django(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain(): ...\n")
    options = ["-m", "pytest", "-W", "error", "-p", PLUGIN, "-q"]
    for others in ([], ["-p", "no:django"]):
        assert "1 passed" in run(tmp_path, *options, *others, settings=None)


def test_fixtures_say_what_is_missing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("SECRET_KEY = 'secret'\n")
    (tmp_path / "test_bare.py").write_text("def test_jobs(jobs): ...\n")
    plain = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]) != 1)"
    options = ["-c", plain, "-p", PLUGIN, "-q"]
    assert "Install pytest-django" in run(tmp_path, *options, "-p", "no:django", settings=None)
    assert "INSTALLED_APPS lacks 'django_jobs'" in run(tmp_path, *options, settings="bare")


def test_plugin_may_be_named_twice(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain(): ...\n")
    metadata = tmp_path / "kit-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kit\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
    for named in ([], ["-p", PLUGIN]):
        output = run(tmp_path, "-m", "pytest", *named, "--fixtures", "-q", settings=None)
        assert "\nlive_worker -- " in output
        assert "\njobs -- " in output


def test_kit_needs_no_pytest() -> None:
    code = """
        import sys
        sys.modules["pytest"] = None
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["django_jobs"])
        django.setup()
        import django_jobs.testing
        for name in django_jobs.testing.__all__:
            getattr(django_jobs.testing, name)
    """
    run(ROOT, "-W", "error", "-c", textwrap.dedent(code), settings=None)


def test_plugin_imports_nothing_of_django() -> None:
    code = f"""
        import sys, {PLUGIN}
        loaded = [name for name in sys.modules if name.partition(".")[0] == "django"]
        assert not loaded, loaded
        ours = sorted(name for name in sys.modules if name.startswith("django_jobs"))
        assert ours == ["django_jobs", "django_jobs.testing", "{PLUGIN}"], ours
    """
    run(ROOT, "-W", "error", "-c", textwrap.dedent(code), settings=None)
