import django_jobs.models.fields
from django.db import migrations, models


def hold_any_character(apps, schema_editor):
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(
            "ALTER TABLE django_jobs_bulkchange CONVERT TO CHARACTER SET utf8mb4", params=None
        )


class Migration(migrations.Migration):

    dependencies = [
        ('django_jobs', '0011_exact_alert_keys'),
    ]

    operations = [
        migrations.CreateModel(
            name='BulkChange',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('operation', models.CharField(max_length=30)),
                ('target', django_jobs.models.fields.JSONTextField(default=dict)),
                ('user_key', models.CharField(max_length=255)),
                ('permission', models.CharField(max_length=255)),
                ('job_ids', models.BinaryField()),
                ('position', models.IntegerField(default=0)),
                ('changed', models.IntegerField(default=0)),
                ('skipped', django_jobs.models.fields.JSONTextField(default=dict)),
                ('log_id', models.BigIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunPython(hold_any_character, migrations.RunPython.noop, atomic=False),
    ]
