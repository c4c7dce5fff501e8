import django.db.models.deletion
import django_jobs.models.fields
from django.db import migrations, models


_TABLES = ("django_jobs_event", "django_jobs_eventwait", "django_jobs_approval")
# Compared as they are written, as on the other databases: "paid" is not "Paid".
_EXACT = [
    ("django_jobs_event", "name", 200),
    ("django_jobs_eventwait", "name", 200),
    ("django_jobs_eventwait", "key", 220),
]


def compare_exactly(apps, schema_editor):
    if schema_editor.connection.vendor != "mysql":
        return
    for table in _TABLES:
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4", params=None)
    for table, column, length in _EXACT:
        schema_editor.execute(
            f"ALTER TABLE {table} MODIFY `{column}` varchar({length}) "
            "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
            params=None,
        )


class Migration(migrations.Migration):

    dependencies = [
        ('django_jobs', '0005_enqueue_function'),
    ]

    operations = [
        migrations.CreateModel(
            name='Approval',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=220)),
                ('question', models.TextField(verbose_name='question')),
                ('permission', models.CharField(max_length=255, verbose_name='permission')),
                ('choices', django_jobs.models.fields.JSONTextField(default=list, verbose_name='choices')),
                ('form', django_jobs.models.fields.JSONTextField(default=dict)),
                ('asked_at', models.DateTimeField(verbose_name='asked')),
                ('decided_at', models.DateTimeField(null=True, verbose_name='decided')),
                ('choice', models.CharField(default='', max_length=100, verbose_name='decision')),
                ('comment', models.TextField(default='', verbose_name='comment')),
                ('answers', django_jobs.models.fields.JSONTextField(default=dict, verbose_name='answers')),
                ('decided_by', models.CharField(default='', max_length=200, verbose_name='decided by')),
                ('link', models.CharField(default='', max_length=32)),
                ('job', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='approvals', to='django_jobs.job')),
            ],
            options={
                'verbose_name': 'approval',
                'verbose_name_plural': 'waiting for people',
                'permissions': [('answer_approval', 'Can answer the questions of jobs')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('payload', django_jobs.models.fields.JSONTextField(null=True, verbose_name='payload')),
                ('broadcast', models.BooleanField(default=False, verbose_name='broadcast')),
                ('is_new', models.BooleanField(default=True)),
                ('sent_at', models.DateTimeField(verbose_name='sent')),
                ('expires_at', models.DateTimeField(verbose_name='kept until')),
            ],
            options={
                'verbose_name': 'event',
                'verbose_name_plural': 'events',
                'permissions': [('send_event', 'Can send events')],
                'default_permissions': (),
                'indexes': [models.Index(fields=['name', 'id'], name='django_jobs_event_name'), models.Index(fields=['is_new', 'id'], name='django_jobs_event_new'), models.Index(fields=['expires_at'], name='django_jobs_event_expires')],
            },
        ),
        migrations.CreateModel(
            name='EventWait',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=220)),
                ('name', models.CharField(max_length=200, verbose_name='event')),
                ('approval_id', models.BigIntegerField(null=True)),
                ('is_new', models.BooleanField(default=True)),
                ('until', models.DateTimeField(null=True, verbose_name='waits until')),
                ('encrypts', models.BooleanField(default=False)),
                ('seen', django_jobs.models.fields.JSONTextField(default=list)),
                ('job', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='event_waits', to='django_jobs.job')),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['name', 'id'], name='django_jobs_eventwait_name'), models.Index(fields=['is_new', 'id'], name='django_jobs_eventwait_new'), models.Index(fields=['until'], name='django_jobs_eventwait_until'), models.Index(fields=['approval_id'], name='django_jobs_eventwait_asked')],
                'constraints': [models.UniqueConstraint(fields=('job', 'key'), name='django_jobs_eventwait_once')],
            },
        ),
        migrations.RunPython(compare_exactly, migrations.RunPython.noop, atomic=False),
    ]
