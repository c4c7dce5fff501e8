import django.db.models.deletion
import django_jobs.models.fields
from django.db import migrations, models


def compare_exactly(apps, schema_editor):
    # As on the other databases: "Charge" is not "charge".
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(
            "ALTER TABLE django_jobs_step CONVERT TO CHARACTER SET utf8mb4", params=None
        )
        schema_editor.execute(
            "ALTER TABLE django_jobs_step MODIFY `key` varchar(220) "
            "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
            params=None,
        )


class Migration(migrations.Migration):

    dependencies = [
        ('django_jobs', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Step',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=220, verbose_name='key')),
                ('position', models.IntegerField()),
                ('kind', models.CharField(max_length=20, verbose_name='kind')),
                ('function', models.CharField(default='', max_length=255, verbose_name='function')),
                ('state', models.CharField(choices=[('DONE', 'done'), ('FAILED', 'failed'), ('CAUGHT', 'failed, and the job went on'), ('RETRY', 'waits for a retry'), ('WAITING', 'waiting'), ('OPEN', 'in progress')], max_length=9, verbose_name='state')),
                ('result', django_jobs.models.fields.JSONTextField(null=True, verbose_name='result')),
                ('data', django_jobs.models.fields.JSONTextField(null=True)),
                ('tries', models.IntegerField(default=0)),
                ('claims', models.IntegerField()),
                ('began_at', models.DateTimeField(null=True, verbose_name='began')),
                ('ended_at', models.DateTimeField(null=True, verbose_name='ended')),
                ('wake_at', models.DateTimeField(null=True, verbose_name='waits until')),
                ('error_class', models.CharField(default='', max_length=255, verbose_name='error')),
                ('error_message', models.TextField(default='', verbose_name='message')),
                ('traceback', models.TextField(default='', verbose_name='traceback')),
                ('job', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='django_jobs.job')),
            ],
            options={
                'verbose_name': 'step',
                'verbose_name_plural': 'steps',
                'ordering': ['position', 'id'],
                'default_permissions': ('view',),
                'constraints': [models.UniqueConstraint(fields=('job', 'key'), name='django_jobs_step_key')],
            },
        ),
        migrations.RunPython(compare_exactly, migrations.RunPython.noop, atomic=False),
    ]
