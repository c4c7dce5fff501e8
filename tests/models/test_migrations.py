from __future__ import annotations

import re
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import (
    AddField,
    AddIndex,
    AlterModelOptions,
    CreateModel,
    RunPython,
    RunSQL,
)
from django.db.migrations.operations.base import Operation

from django_jobs.models import Job

# None of these takes anything from the release before.
ADDING = (AddField, AddIndex, AlterModelOptions, CreateModel)

# The indexes of the hot table that stand in the migration only, with what each is for.
PARTIAL = {
    "django_jobs_claim": (["queue", "rank", "id"], "PENDING"),
    "django_jobs_fair": (["queue", "fair_key", "rank", "id"], "PENDING"),
    "django_jobs_due": (["run_at"], "SCHEDULED"),
    "django_jobs_running": (["worker_id"], "STARTED"),
    "django_jobs_prune": (["prune_at"], "NOT NULL"),
    "django_jobs_failed": (["id"], "FAILURE"),
    "django_jobs_revoked": (["id"], "REVOKED"),
    "django_jobs_held": (["id"], "WAITING"),
    "django_jobs_root": (["root_id"], "NOT NULL"),
    "django_jobs_group": (["group_id"], "NOT NULL"),
    "django_jobs_waiting": (["waiting_for", "rank", "id"], "NULL"),
    "django_jobs_runs": (["schedule_id", "id"], "NOT NULL"),
}
WHOLE = {
    "django_jobs_claim": ["status", "queue", "rank", "id"],
    "django_jobs_fair": ["queue", "fair_ready_key", "rank", "id"],
    "django_jobs_due": ["status", "run_at"],
    "django_jobs_prune": ["prune_at"],
    "django_jobs_root": ["root_id"],
    "django_jobs_group": ["group_id"],
    "django_jobs_waiting": ["waiting_for", "rank", "id"],
    "django_jobs_runs": ["schedule_id", "id"],
}


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert "No changes detected" in out.getvalue()


@pytest.mark.once
def test_workers_of_the_version_before_can_insert_into_changed_tables() -> None:
    """They run on after the migration, and name no column that they do not know."""
    migrations = MigrationLoader(None).disk_migrations
    added = [
        (f"{operation.model_name}.{operation.name}", operation.field)
        for (app, _name), migration in migrations.items()
        if app == "django_jobs"
        for operation in migration.operations
        if isinstance(operation, AddField)
    ]
    assert {"job.fair_key", "measurement.steps", "worker.samples"} <= {
        name for name, _field in added
    }
    needed = [name for name, field in added if not (field.null or field.has_db_default())]
    assert needed == []


@pytest.mark.once
def test_migrations_only_add_to_what_the_version_before_uses() -> None:
    """See "Versions" in docs/stability.rst: old workers run on the new tables."""
    migrations = MigrationLoader(None).disk_migrations
    first, *later = sorted(name for app, name in migrations if app == "django_jobs")
    assert first == "0001_initial"
    others = {
        f"{name}: {type(operation).__name__}"
        for name in later
        for operation in migrations["django_jobs", name].operations
        if not isinstance(operation, ADDING) and not is_reversible_code(operation)
    }
    assert others == set()


def is_reversible_code(operation: Operation) -> bool:
    return isinstance(operation, RunPython | RunSQL) and operation.reversible


@pytest.mark.django_db
def test_hot_table_has_its_indexes(vendor: str) -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, Job._meta.db_table)
    indexes = {name: found[name] for name in found if name.startswith("django_jobs_")}
    indexes = {name: one for name, one in indexes.items() if one["index"] and not one["unique"]}
    expected = WHOLE if vendor == "mysql" else {name: one for name, (one, _) in PARTIAL.items()}
    columns = {name: one["columns"] for name, one in indexes.items()}
    if vendor == "postgresql":
        columns["django_jobs_running"] = ["worker_id"]
    assert columns == expected
    for one in indexes.values():
        assert set(one.get("orders") or ["ASC"]) == {"ASC"}


@pytest.mark.django_db
def test_partial_indexes_have_their_conditions(vendor: str) -> None:
    if vendor == "mysql":
        assert not connection.features.supports_partial_indexes
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'django_jobs_job'"
            if vendor == "postgresql"
            else "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'django_jobs_job'"
        )
        definitions = dict(cursor.fetchall())
    for name, (_, word) in PARTIAL.items():
        condition = re.split(r"\bWHERE\b", definitions[name])[1]
        assert word in condition, definitions[name]


@pytest.mark.django_db
def test_autovacuum_of_the_hot_table_is_tuned(vendor: str) -> None:
    if vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'django_jobs_job'")
        (options,) = cursor.fetchone()
    assert "autovacuum_vacuum_threshold=2000" in options


@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_undone_and_done_again() -> None:
    def migrate(name: str | None) -> None:
        call_command("migrate", "django_jobs", *([name] if name else []), verbosity=0)

    migrate("zero")
    try:
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
        assert not [table for table in tables if table.startswith("django_jobs_")]
    finally:
        migrate(None)
    assert not Job.objects.exists()
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes("django_jobs")) == []


def test_every_model_of_the_package_is_migrated() -> None:
    names = {model.__name__ for model in apps.get_app_config("django_jobs").get_models()}
    assert names >= {
        "Attempt", "Command", "Edge", "LimitLock", "Job", "Lease", "Limit", "Measurement", "Permit",
        "Queue", "Reservation", "Schedule", "UniqueKey", "Worker",
    }  # fmt: skip


@pytest.mark.django_db
def test_tables_hold_any_character(vendor: str) -> None:
    if vendor != "mysql":
        pytest.skip("only MariaDB and MySQL have a character set for each column")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name LIKE 'django\\_jobs\\_%' "
            "AND character_set_name <> 'utf8mb4'"
        )
        assert cursor.fetchall() == ()
