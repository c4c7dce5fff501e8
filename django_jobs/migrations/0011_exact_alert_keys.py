from django.db import migrations

_TABLES = ("django_jobs_apitoken", "django_jobs_mark", "django_jobs_raisedalert")


def compare_exactly(apps, schema_editor):
    if schema_editor.connection.vendor != "mysql":
        return
    for table in _TABLES:
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4", params=None)
    # As on the other databases: the alert of queue "mail" is not that of queue "Mail".
    schema_editor.execute(
        "ALTER TABLE django_jobs_raisedalert MODIFY `key` varchar(200) "
        "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
        params=None,
    )


class Migration(migrations.Migration):

    dependencies = [
        ("django_jobs", "0010_marks_and_alerts"),
    ]

    operations = [
        migrations.RunPython(compare_exactly, migrations.RunPython.noop, atomic=False),
    ]
