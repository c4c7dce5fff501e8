from django.db import migrations, models

# fair  the keys of one fair queue's pending jobs, in their order, and each key's jobs in the order
#       of the claim. Jobs without a key are in it on no database but MariaDB and MySQL, where they
#       are nulls.
_PARTIAL = "(queue, fair_key, rank, id) WHERE status = 'PENDING' AND fair_key IS NOT NULL"
# The column is null for all but ready jobs of fair queues: the index does not change with the
# status of others.
_READY_KEY = (
    "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin "
    "GENERATED ALWAYS AS (CASE WHEN status = 'PENDING' THEN fair_key END) STORED"
)


def create_index(apps, schema_editor):
    execute = schema_editor.execute
    if schema_editor.connection.vendor == "mysql":
        execute(
            "ALTER TABLE django_jobs_job "
            "MODIFY fair_key varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
            params=None,
        )
        execute(f"ALTER TABLE django_jobs_job ADD COLUMN fair_ready_key {_READY_KEY}", params=None)
        execute(
            "CREATE INDEX django_jobs_fair ON django_jobs_job (queue, fair_ready_key, `rank`, id)",
            params=None,
        )
    else:
        execute(f"CREATE INDEX django_jobs_fair ON django_jobs_job {_PARTIAL}", params=None)


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute("DROP INDEX django_jobs_fair ON django_jobs_job", params=None)
        schema_editor.execute("ALTER TABLE django_jobs_job DROP COLUMN fair_ready_key", params=None)
    else:
        schema_editor.execute("DROP INDEX django_jobs_fair", params=None)


class Migration(migrations.Migration):

    dependencies = [
        ("django_jobs", "0003_encrypted_values"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="fair_key",
            field=models.CharField(max_length=200, null=True),
        ),
        migrations.RunPython(create_index, drop_index, atomic=False),
    ]
