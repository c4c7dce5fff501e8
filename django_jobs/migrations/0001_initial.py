import django.core.validators
import django.db.models.deletion
import django_jobs.ids
import django_jobs.models.fields
import django_jobs.models.limit
import django_jobs.models.schedule
from django.db import migrations, models


# The hot table's indexes differ by database and are therefore no part of the models. Each one is read
# by a statement that a worker repeats for ever, and paid for by every job:
#
# claim    ORDER BY rank, id of one queue's pending jobs: exactly the index, ascending
# due      the jobs whose time comes next
# running  a dead worker's jobs. On PostgreSQL its condition is written so that the planner does not
#          see it in record's "status = 'STARTED' AND worker_id = …": it would walk the dead entries of
#          all recent jobs there, where the primary key finds each row at once
# prune    the ended jobs whose time is over
# failed, revoked, held  the admin's lists and counts of what did not succeed, and of what is WAITING
# waiting  the next job that waits for a permit under one concurrency limit
# runs     the last runs of one schedule
_PARTIAL = [
    ("claim", "(queue, rank, id) WHERE status = 'PENDING'"),
    ("due", "(run_at) WHERE status IN ('SCHEDULED', 'RETRY')"),
    ("prune", "(prune_at) WHERE prune_at IS NOT NULL"),
    ("failed", "(id) WHERE status = 'FAILURE'"),
    ("revoked", "(id) WHERE status = 'REVOKED'"),
    ("held", "(id) WHERE status = 'WAITING'"),
    ("root", "(root_id) WHERE root_id IS NOT NULL"),
    ("group", "(group_id) WHERE group_id IS NOT NULL"),
    ("waiting", "(waiting_for, rank, id) WHERE waiting_for IS NOT NULL"),
    ("runs", "(schedule_id, id) WHERE schedule_id IS NOT NULL"),
]
INDEXES = {
    "postgresql": [*_PARTIAL, ("running", "(worker_id) WHERE left(status, 7) = 'STARTED'")],
    "sqlite": [*_PARTIAL, ("running", "(worker_id) WHERE status = 'STARTED'")],
    # No partial indexes: the claim's serves every open status, nulls keep the others small.
    "mysql": [
        ("claim", "(status, queue, `rank`, id)"),
        ("due", "(status, run_at)"),
        ("prune", "(prune_at)"),
        ("root", "(root_id)"),
        ("group", "(group_id)"),
        ("waiting", "(waiting_for, `rank`, id)"),
        ("runs", "(schedule_id, id)"),
    ],
}

# Rows change status a few times in seconds and then lie still: vacuum by number, not by share.
_AUTOVACUUM = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, "
    "autovacuum_vacuum_insert_scale_factor = 0.1"
)


# Compared as they are written, as on the other databases: "mail" is not "Mail".
_EXACT = [
    ("django_jobs_job", "queue", "varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
    ("django_jobs_job", "unique_key", "varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    ("django_jobs_job", "waiting_for", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    ("django_jobs_queue", "name", "varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
    ("django_jobs_limitlock", "key", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
    ("django_jobs_limit", "key", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
    ("django_jobs_permit", "key", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
    ("django_jobs_reservation", "key", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
]


def create_indexes(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    if vendor == "mysql":
        models_of_rows = [
            model for model in apps.get_app_config("django_jobs").get_models() if model._meta.managed
        ]
        for model in models_of_rows:
            schema_editor.execute(
                f"ALTER TABLE {model._meta.db_table} CONVERT TO CHARACTER SET utf8mb4", params=None
            )
        for table, column, definition in _EXACT:
            schema_editor.execute(
                f"ALTER TABLE {table} MODIFY `{column}` {definition}", params=None
            )
    for name, definition in INDEXES[vendor]:
        schema_editor.execute(
            f"CREATE INDEX django_jobs_{name} ON django_jobs_job {definition}", params=None
        )
    if vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE django_jobs_job SET ({_AUTOVACUUM})", params=None)


def drop_indexes(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    on = " ON django_jobs_job" if vendor == "mysql" else ""
    for name, _definition in INDEXES[vendor]:
        schema_editor.execute(f"DROP INDEX django_jobs_{name}{on}", params=None)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.UUIDField(default=django_jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=255, verbose_name='job function')),
                ('queue', models.CharField(max_length=100, verbose_name='queue')),
                ('rank', models.SmallIntegerField(db_default=0, default=0)),
                ('status', models.CharField(choices=[('WAITING', 'waiting'), ('SCHEDULED', 'scheduled'), ('PENDING', 'pending'), ('STARTED', 'started'), ('RETRY', 'retry'), ('SUCCESS', 'success'), ('FAILURE', 'failure'), ('REVOKED', 'revoked')], max_length=9, verbose_name='status')),
                ('args', django_jobs.models.fields.JSONTextField(default=list, verbose_name='arguments')),
                ('kwargs', django_jobs.models.fields.JSONTextField(default=dict, verbose_name='keyword arguments')),
                ('headers', django_jobs.models.fields.JSONTextField(null=True, verbose_name='headers')),
                ('options', django_jobs.models.fields.JSONTextField(null=True)),
                ('enqueued_at', models.DateTimeField(verbose_name='enqueued')),
                ('run_at', models.DateTimeField(null=True, verbose_name='scheduled for')),
                ('ready_at', models.DateTimeField(null=True, verbose_name='ready')),
                ('started_at', models.DateTimeField(null=True, verbose_name='started')),
                ('ended_at', models.DateTimeField(null=True, verbose_name='ended')),
                ('expires_at', models.DateTimeField(null=True, verbose_name='expires')),
                ('prune_at', models.DateTimeField(null=True)),
                ('claims', models.IntegerField(db_default=0, default=0)),
                ('retries', models.IntegerField(db_default=0, default=0, verbose_name='retries')),
                ('crashes', models.SmallIntegerField(db_default=0, default=0, verbose_name='crashes')),
                ('deferrals', models.SmallIntegerField(db_default=0, default=0)),
                ('worker_id', models.UUIDField(null=True)),
                ('result', django_jobs.models.fields.JSONTextField(null=True, verbose_name='result')),
                ('progress', django_jobs.models.fields.JSONTextField(null=True, verbose_name='progress')),
                ('error_class', models.CharField(db_default='', default='', max_length=255, verbose_name='error')),
                ('error_message', models.TextField(db_default='', default='', verbose_name='message')),
                ('root_id', models.UUIDField(null=True)),
                ('parent_id', models.UUIDField(null=True)),
                ('group_id', models.UUIDField(null=True)),
                ('schedule_id', models.BigIntegerField(null=True)),
                ('pending_parents', models.IntegerField(db_default=0, default=0)),
                ('has_dependents', models.BooleanField(db_default=False, default=False)),
                ('unique_key', models.CharField(max_length=64, null=True)),
                ('waiting_for', models.CharField(max_length=200, null=True)),
            ],
            options={
                'verbose_name': 'job',
                'verbose_name_plural': 'jobs',
                'permissions': [('retry_job', 'Can retry jobs'), ('revoke_job', 'Can revoke jobs'), ('run_job', 'Can run scheduled jobs at once'), ('enqueue_job', 'Can enqueue jobs'), ('move_job', 'Can move jobs to another queue or priority')],
                'default_permissions': ('view', 'delete'),
            },
        ),
        migrations.CreateModel(
            name='Lease',
            fields=[
                ('name', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('holder', models.UUIDField(null=True)),
                ('until', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='LimitLock',
            fields=[
                ('key', models.CharField(max_length=200, primary_key=True, serialize=False)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Limit',
            fields=[
                ('key', models.CharField(max_length=200, primary_key=True, serialize=False, verbose_name='key')),
                ('concurrency', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='most running jobs')),
                ('rate_limit', models.CharField(blank=True, default='', max_length=100, validators=[django_jobs.models.limit.validate_rate], verbose_name='rate limit')),
            ],
            options={
                'verbose_name': 'limit',
                'verbose_name_plural': 'limits',
            },
        ),
        migrations.CreateModel(
            name='Permit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200)),
                ('job_id', models.UUIDField()),
                ('claims', models.IntegerField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['job_id'], name='django_jobs_permit_job')],
                'constraints': [models.UniqueConstraint(fields=('key', 'job_id'), name='django_jobs_permit_once')],
            },
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200)),
                ('job_id', models.UUIDField()),
                ('at', models.FloatField()),
                ('started', models.BooleanField(default=False)),
                ('claims', models.IntegerField(default=0)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['job_id'], name='django_jobs_reservation_job'), models.Index(fields=['key', 'started', 'at'], name='django_jobs_reservation_at'), models.Index(fields=['key', 'started', 'id'], name='django_jobs_reservation_line')],
            },
        ),
        migrations.CreateModel(
            name='Queue',
            fields=[
                ('name', models.CharField(max_length=100, primary_key=True, serialize=False, verbose_name='name')),
                ('paused_at', models.DateTimeField(blank=True, null=True, verbose_name='paused since')),
                ('paused_by', models.CharField(blank=True, default='', max_length=150, verbose_name='paused by')),
                ('concurrency', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='most running jobs')),
                ('rate_limit', models.CharField(blank=True, default='', max_length=100, validators=[django_jobs.models.limit.validate_rate], verbose_name='rate limit')),
                ('target_seconds', models.FloatField(blank=True, null=True, verbose_name='longest wait wanted')),
            ],
            options={
                'verbose_name': 'queue',
                'verbose_name_plural': 'queues',
                'permissions': [('pause_queue', 'Can pause and resume queues')],
            },
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, unique=True, verbose_name='name')),
                ('description', models.TextField(blank=True, default='', verbose_name='description')),
                ('job_name', models.CharField(max_length=255, verbose_name='job function')),
                ('args', django_jobs.models.fields.JSONTextField(blank=True, default=list, verbose_name='arguments')),
                ('kwargs', django_jobs.models.fields.JSONTextField(blank=True, default=dict, verbose_name='keyword arguments')),
                ('kind', models.CharField(choices=[('interval', 'interval'), ('crontab', 'crontab'), ('clocked', 'at one time'), ('solar', 'solar event')], max_length=8, verbose_name='kind')),
                ('interval_seconds', models.FloatField(blank=True, null=True, verbose_name='interval in seconds')),
                ('crontab', models.CharField(blank=True, default='', max_length=1000, verbose_name='crontab')),
                ('clocked_at', models.DateTimeField(blank=True, null=True, verbose_name='time')),
                ('solar_event', models.CharField(blank=True, default='', max_length=24, verbose_name='solar event')),
                ('latitude', models.FloatField(blank=True, null=True, verbose_name='latitude')),
                ('longitude', models.FloatField(blank=True, null=True, verbose_name='longitude')),
                ('timezone', models.CharField(default=django_jobs.models.schedule.default_timezone, max_length=64, verbose_name='time zone')),
                ('enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('one_off', models.BooleanField(default=False, verbose_name='run once')),
                ('starts_at', models.DateTimeField(blank=True, null=True, verbose_name='starts')),
                ('ends_at', models.DateTimeField(blank=True, null=True, verbose_name='ends')),
                ('jitter_seconds', models.FloatField(default=0, verbose_name='jitter in seconds')),
                ('missed', models.CharField(choices=[('skip', 'skip'), ('latest', 'run the latest'), ('all', 'run all')], default='latest', max_length=6, verbose_name='missed ticks')),
                ('missed_limit', models.PositiveIntegerField(default=100, verbose_name='most missed ticks to run')),
                ('deadline_seconds', models.FloatField(blank=True, null=True, verbose_name='starting deadline in seconds')),
                ('overlap', models.CharField(choices=[('allow', 'allow'), ('skip', 'skip while the previous run has not ended')], default='allow', max_length=5, verbose_name='overlap')),
                ('queue', models.CharField(blank=True, default='', max_length=100, verbose_name='queue')),
                ('priority', models.SmallIntegerField(blank=True, null=True, verbose_name='priority')),
                ('expires_seconds', models.FloatField(blank=True, null=True, verbose_name='expires after seconds')),
                ('headers', django_jobs.models.fields.JSONTextField(blank=True, null=True, verbose_name='headers')),
                ('next_run_at', models.DateTimeField(blank=True, null=True, verbose_name='next run')),
                ('planned_for', models.CharField(blank=True, default='', editable=False, max_length=32)),
                ('last_run_at', models.DateTimeField(blank=True, null=True, verbose_name='last run')),
                ('last_job_id', models.UUIDField(blank=True, null=True)),
                ('run_count', models.BigIntegerField(default=0, verbose_name='runs')),
                ('skipped_count', models.BigIntegerField(default=0, verbose_name='skipped')),
                ('last_error', models.TextField(blank=True, default='', verbose_name='last error')),
                ('source', models.CharField(choices=[('admin', 'made in the admin'), ('code', 'from code'), ('changed', 'changed by hand'), ('gone', 'gone from code')], default='admin', max_length=7, verbose_name='source')),
                ('code_digest', models.CharField(blank=True, default='', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name': 'schedule',
                'verbose_name_plural': 'schedules',
                'permissions': [('run_schedule', 'Can run schedules at once')],
                'indexes': [models.Index(fields=['next_run_at'], name='django_jobs_schedule_next')],
            },
        ),
        migrations.CreateModel(
            name='UniqueKey',
            fields=[
                ('key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('job_id', models.UUIDField()),
                ('until', models.DateTimeField(null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Command',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('worker_id', models.UUIDField()),
                ('name', models.CharField(max_length=30, verbose_name='command')),
                ('arguments', django_jobs.models.fields.JSONTextField(default=dict, verbose_name='arguments')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('created_by', models.CharField(default='', max_length=150, verbose_name='by')),
                ('done_at', models.DateTimeField(null=True, verbose_name='done')),
                ('answer', django_jobs.models.fields.JSONTextField(null=True, verbose_name='answer')),
            ],
            options={
                'verbose_name': 'command',
                'verbose_name_plural': 'commands',
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['done_at', 'worker_id', 'id'], name='django_jobs_command_open')],
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.IntegerField(verbose_name='attempt')),
                ('claims', models.IntegerField(default=0)),
                ('status', models.CharField(choices=[('WAITING', 'waiting'), ('SCHEDULED', 'scheduled'), ('PENDING', 'pending'), ('STARTED', 'started'), ('RETRY', 'retry'), ('SUCCESS', 'success'), ('FAILURE', 'failure'), ('REVOKED', 'revoked')], max_length=9, verbose_name='next status')),
                ('worker_id', models.UUIDField(null=True)),
                ('started_at', models.DateTimeField(null=True, verbose_name='started')),
                ('ended_at', models.DateTimeField(verbose_name='ended')),
                ('error_class', models.CharField(max_length=255, verbose_name='error')),
                ('error_message', models.TextField(verbose_name='message')),
                ('error_args', django_jobs.models.fields.JSONTextField(null=True)),
                ('traceback', models.TextField(verbose_name='traceback')),
                ('job', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='django_jobs.job')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='AttemptLog',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.IntegerField()),
                ('claims', models.IntegerField()),
                ('status', models.CharField(choices=[('WAITING', 'waiting'), ('SCHEDULED', 'scheduled'), ('PENDING', 'pending'), ('STARTED', 'started'), ('RETRY', 'retry'), ('SUCCESS', 'success'), ('FAILURE', 'failure'), ('REVOKED', 'revoked')], max_length=9)),
                ('worker_id', models.UUIDField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('log_lines', django_jobs.models.fields.JSONTextField(default=list)),
                ('left_out', models.IntegerField(default=0)),
                ('job', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='logs', to='django_jobs.job')),
            ],
            options={
                'ordering': ['-id'],
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Measurement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('starts_at', models.BigIntegerField()),
                ('seconds', models.IntegerField(default=60)),
                ('in_total', models.BooleanField(default=False)),
                ('queue', models.CharField(max_length=100)),
                ('name', models.CharField(max_length=255)),
                ('sent', models.BigIntegerField(default=0)),
                ('succeeded', models.BigIntegerField(default=0)),
                ('failed', models.BigIntegerField(default=0)),
                ('retried', models.BigIntegerField(default=0)),
                ('revoked', models.BigIntegerField(default=0)),
                ('rescued', models.BigIntegerField(default=0)),
                ('wait_seconds', models.FloatField(default=0)),
                ('run_seconds', models.FloatField(default=0)),
                ('longest_run_seconds', models.FloatField(default=0)),
                ('shortest_run_seconds', models.FloatField(null=True)),
                ('shortest_wait_seconds', models.FloatField(null=True)),
                ('longest_wait_seconds', models.FloatField(null=True)),
                ('waits', django_jobs.models.fields.JSONTextField(default=list)),
                ('runs', django_jobs.models.fields.JSONTextField(default=list)),
                ('errors', django_jobs.models.fields.JSONTextField(default=dict)),
            ],
            options={
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['seconds', 'starts_at'], name='django_jobs_measured')],
            },
        ),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('id', models.UUIDField(default=django_jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('hostname', models.CharField(max_length=255, verbose_name='host')),
                ('pid', models.IntegerField(verbose_name='process id')),
                ('pool', models.CharField(max_length=20, verbose_name='pool')),
                ('slots', models.IntegerField(default=1, verbose_name='slots')),
                ('busy', models.IntegerField(default=0, verbose_name='busy slots')),
                ('queues', django_jobs.models.fields.JSONTextField(default=list, verbose_name='queues')),
                ('exclude_queues', django_jobs.models.fields.JSONTextField(default=list, verbose_name='excluded queues')),
                ('supervisor_id', models.UUIDField(null=True)),
                ('details', django_jobs.models.fields.JSONTextField(default=dict)),
                ('version', models.CharField(default='', max_length=50, verbose_name='version')),
                ('started_at', models.DateTimeField(verbose_name='started')),
                ('heartbeat_at', models.DateTimeField(verbose_name='heartbeat')),
                ('lease_until', models.DateTimeField(verbose_name='lease until')),
                ('stopping_at', models.DateTimeField(null=True)),
                ('stopped_at', models.DateTimeField(null=True, verbose_name='stopped')),
                ('lost_at', models.DateTimeField(null=True, verbose_name='lost')),
                ('quiet', models.BooleanField(default=False, verbose_name='quiet')),
                ('jobs_done', models.BigIntegerField(default=0, verbose_name='jobs done')),
                ('memory_bytes', models.BigIntegerField(null=True, verbose_name='memory')),
            ],
            options={
                'verbose_name': 'worker',
                'verbose_name_plural': 'workers',
                'permissions': [('control_worker', 'Can control workers')],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['lease_until'], name='django_jobs_worker_lease')],
            },
        ),
        migrations.CreateModel(
            name='Edge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('result', 'runs after a success'), ('complete', 'runs after any end')], default='result', max_length=8)),
                ('position', models.IntegerField(default=0)),
                ('child', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='edges_in', to='django_jobs.job')),
                ('parent', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='edges_out', to='django_jobs.job')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('parent', 'child', 'kind', 'position'), name='django_jobs_edge_once')],
            },
        ),
        migrations.CreateModel(
            name='Dashboard',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'verbose_name': 'dashboard',
                'verbose_name_plural': 'dashboard',
                'managed': False,
                'base_manager_name': 'objects',
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Function',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'verbose_name': 'job function',
                'verbose_name_plural': 'job functions',
                'managed': False,
                'base_manager_name': 'objects',
                'default_permissions': ('view',),
            },
        ),
        migrations.RunPython(create_indexes, drop_indexes, atomic=False),
    ]
