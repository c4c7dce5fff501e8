"""Other programs enqueue: the function of PostgreSQL, and the examples of the page."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import Client

from django_jobs import AsyncResult
from django_jobs.models import Job
from django_jobs.testing import run_jobs
from tests import jobs
from tests.waiting import LONG

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (Path(__file__).parent.parent / "docs" / "other_languages.rst").read_text()
MIGRATION: Any = importlib.import_module("django_jobs.migrations.0005_enqueue_function")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", PAGE)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in found]


@pytest.fixture
def other(vendor: str) -> Iterator[Any]:
    """A connection of a program that has no Django."""
    if vendor != "postgresql":
        pytest.skip("the function is PostgreSQL's")
    import psycopg

    known = connection.get_connection_params()
    wanted = {name: known[name] for name in ("dbname", "user", "password", "host", "port")
              if name in known}  # fmt: skip
    with psycopg.connect(**wanted) as made:
        yield made


def call(other: Any, sql: str, *values: Any) -> uuid.UUID:
    found: uuid.UUID = other.execute(f"SELECT django_jobs_enqueue({sql})", values).fetchone()[0]
    return found


def test_a_job_is_part_of_the_transaction_of_the_program(other: Any) -> None:
    call(other, "'tests.jobs.add', '[1]'")
    other.rollback()
    assert not Job.objects.exists()
    made = call(other, "'tests.jobs.add', '[1, 2]'")
    assert not Job.objects.exists()
    other.commit()
    run_jobs()
    assert AsyncResult(made).result == 3


def test_workers_hear_of_it_at_the_commit(other: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("LISTEN django_jobs")
        for number in range(3):
            call(other, "'tests.jobs.add', jsonb_build_array(%s::int), queue => 'mail'", number)
        call(other, "'tests.jobs.add', '[1]', run_at => now() + interval '1 hour'")
        driver = connection.connection
        assert not list(driver.notifies(timeout=0))
        other.commit()
        heard = {each.payload for each in driver.notifies(timeout=LONG, stop_after=2)}
        cursor.execute("UNLISTEN django_jobs")
    assert heard == {"mail", "@"}


def test_the_row_is_that_of_a_call(other: Any) -> None:
    options = {"queue": "mail", "priority": 3, "headers": {"tenant": "a"}}
    expected = jobs.add.apply_async((1,), {"b": 2}, **options).job
    made = call(
        other,
        """'tests.jobs.add', '[1]', '{"b": 2}', 'mail', 3, headers => '{"tenant": "a"}'""",
    )
    other.commit()
    row = Job.objects.get(pk=made)
    times = ("enqueued_at", "ready_at")
    same = [f.attname for f in Job._meta.concrete_fields if f.name not in ("id", *times)]
    assert [getattr(row, name) for name in same] == [getattr(expected, name) for name in same]
    assert row.pk.version == 7
    assert row.pk > expected.pk
    assert abs((row.enqueued_at - expected.enqueued_at).total_seconds()) < 600
    assert row.ready_at == row.enqueued_at
    other.execute("SELECT django_jobs_enqueue('tests.jobs.add', '[2]')")
    ids = [call(other, "'tests.jobs.add', '[3]'") for _number in range(50)]
    assert ids == sorted(ids)
    assert {each.variant for each in ids} == {uuid.RFC_4122}


def test_the_admin_finds_it_by_its_arguments(other: Any, boss: Client) -> None:
    call(other, "'tests.jobs.add', '[1, 42]'")
    call(other, """'tests.jobs.add', '[1]', '{"b": 43}'""")
    other.commit()
    for value in ("42", "43"):
        found = boss.get("/admin/django_jobs/job/", {"q": f"args.b:{value}"})
        assert found.context["cl"].result_count == 1


def test_a_later_moment_and_an_expiry_are_kept(other: Any) -> None:
    made = call(
        other,
        "'tests.jobs.add', '[1]', run_at => '2100-01-01Z', expires_at => '2100-01-02Z'",
    )
    past = call(other, "'tests.jobs.add', '[1]', run_at => '2001-01-01Z'")
    other.commit()
    row = Job.objects.get(pk=made)
    assert (row.status, row.ready_at, row.run_at.year, row.expires_at.day) == (
        "SCHEDULED", None, 2100, 2,
    )  # fmt: skip
    assert (Job.objects.get(pk=past).status, Job.objects.get(pk=past).run_at) == ("PENDING", None)


def test_an_id_of_ones_own_is_taken_once(other: Any) -> None:
    mine = uuid.uuid4()
    assert call(other, "'tests.jobs.add', '[1]', id => %s", mine) == mine
    other.commit()
    with pytest.raises(Exception, match="duplicate key"):
        call(other, "'tests.jobs.add', '[1]', id => %s", mine)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("NULL", "name must be that of a job function, 1 to 255 characters, got NULL."),
        ("''", "got 0."),
        ("repeat('x', 256)", "got 256."),
        ("'a', '{}'", "args must be a JSON array, got object."),
        ("'a', NULL", "args must be a JSON array, got NULL."),
        ("'a', '[]', '[]'", "kwargs must be a JSON object, got array."),
        ("'a', '[]', 'null'", "kwargs must be a JSON object, got null."),
        ("'a', headers => '[1]'", "headers must be a JSON object or NULL, got array."),
        ("'a', queue => NULL", "queue must have 1 to 100 printable characters"),
        ("'a', queue => ''", "got ''."),
        ("'a', queue => ' a'", "must not begin or end with a blank"),
        ("'a', queue => 'a,b'", "got 'a,b'."),
        ("'a', queue => '@a'", "got '@a'."),
        ("'a', queue => E'a\\tb'", "printable characters"),
        ("'a', queue => repeat('x', 101)", "1 to 100"),
        ("'a', priority => 32768", "from -32767 to 32767, got 32768."),
        ("'a', priority => -2147483648", "got -2147483648."),
        ("'a', priority => NULL", "got NULL."),
    ],
)
def test_what_sql_can_know_is_refused(other: Any, sql: str, error: str) -> None:
    with pytest.raises(Exception, match=re.escape(error)) as caught:
        call(other, sql)
    assert caught.value.sqlstate == "22023"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sql", "error_class", "text"),
    [
        ("'tests.jobs.missing'", "django_jobs.exceptions.UnknownJob", "tests.jobs.missing"),
        ("'tests.jobs.add', '[1, 2, 3]'", "builtins.TypeError", "too many positional"),
        ("'tests.jobs.add', '[]', '{\"c\": 1}'", "builtins.TypeError", "'c'"),
    ],
)
def test_the_worker_refuses_the_rest(other: Any, sql: str, error_class: str, text: str) -> None:
    made = call(other, sql)
    other.commit()
    Job.objects.update(deferrals=10)
    run_jobs(raise_errors=False)
    row = Job.objects.get(pk=made)
    assert (row.status, row.error_class) == ("FAILURE", error_class)
    assert text in row.error_message


def test_the_search_path_of_the_caller_does_not_matter(other: Any) -> None:
    other.execute("SET search_path = pg_catalog")
    other.execute("SELECT public.django_jobs_enqueue('tests.jobs.add', '[1]')")
    other.commit()
    assert Job.objects.count() == 1


def test_each_schema_has_its_own(other: Any) -> None:
    with connection.cursor() as cursor:
        try:
            cursor.execute('CREATE SCHEMA "Tenant 1"')
            cursor.execute('SET search_path = "Tenant 1"')
            like = "(LIKE public.django_jobs_job INCLUDING ALL)"
            cursor.execute(f"CREATE TABLE django_jobs_job {like}")
            with connection.schema_editor() as editor:
                MIGRATION.create(apps, editor)
            other.execute("""SELECT "Tenant 1".django_jobs_enqueue('a')""")
            other.execute("SELECT public.django_jobs_enqueue('b')")
            other.commit()
            cursor.execute("SELECT name FROM django_jobs_job")
            assert cursor.fetchall() == [("a",)]
        finally:
            cursor.execute("SET search_path = public")
            cursor.execute('DROP SCHEMA "Tenant 1" CASCADE')
    assert Job.objects.get().name == "b"


def test_the_migration_goes_back_and_forth(other: Any) -> None:
    there = "SELECT count(*) FROM pg_proc WHERE proname = 'django_jobs_enqueue'"
    with connection.schema_editor() as editor:
        MIGRATION.drop(apps, editor)
    assert other.execute(there).fetchone() == (0,)
    with connection.schema_editor() as editor:
        MIGRATION.create(apps, editor)
        MIGRATION.create(apps, editor)
    other.commit()
    assert other.execute(there).fetchone() == (1,)


def test_other_databases_make_no_function(vendor: str) -> None:
    if vendor == "postgresql":
        pytest.skip("it has the function")
    with connection.schema_editor() as editor:
        MIGRATION.create(apps, editor)
        MIGRATION.drop(apps, editor)
    call_command("migrate", "--check", verbosity=0)


def test_the_sql_of_the_page_runs(other: Any) -> None:
    enqueue, grant, insert = blocks("sql")
    other.execute(enqueue)
    other.execute(insert)
    other.commit()
    done = {each.name: each.result for each in run_jobs()}
    assert done == {"tests.jobs.add": 42}
    assert Job.objects.get(name="tests.jobs.send").status == "SCHEDULED"
    try:
        other.execute(grant)
        other.execute("SET ROLE billing")
        call(other, "'tests.jobs.add', '[1]'")
    finally:
        other.rollback()


@pytest.mark.parametrize(("name", "language"), [("mysql", "mysql"), ("sqlite", "sqlite3")])
def test_the_insert_of_the_page_runs(vendor: str, name: str, language: str) -> None:
    if vendor != name:
        pytest.skip("it is for another database")
    (insert,) = blocks(language)
    with connection.cursor() as cursor:
        cursor.execute(insert.replace("%", "%%"), [])
    run_jobs()
    (row,) = Job.objects.all()
    assert AsyncResult(row.pk).result == 42
    assert row.pk == uuid.UUID("01981c4e-5d2a-7c3f-8a4b-2f6d1c9e0b7a")


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "openssl"))), reason="needs bash, curl and openssl"
)
def test_curl_of_the_page_enqueues(live_server: Any, settings: Any) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    settings.DJANGO_JOBS = {"ENQUEUE_URL": {"SECRETS": [secret], "JOBS": ["tests.jobs.*"]}}
    (script,) = blocks("bash")
    site = live_server.url
    environ = {"PATH": os.environ["PATH"], "SITE": site, "JOBS_SECRET": secret}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environ, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    row = Job.objects.get()
    assert ran.stdout == f'{{"id": "{row.pk}", "created": true}}'
    run_jobs()
    assert AsyncResult(row.pk).result == 42
