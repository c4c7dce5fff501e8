from django.db import migrations

TABLE = "django_jobs_job"
NAME = "django_jobs_enqueue"

# For other programs, in their transactions. It refuses what SQL can know to be wrong; the worker
# refuses the rest. %(schema)s is where the jobs are, whatever search_path the caller has. The row is
# written with the rights of the caller.
CREATE = """
CREATE OR REPLACE FUNCTION %(schema)s.django_jobs_enqueue(
    name text,
    args jsonb DEFAULT '[]',
    kwargs jsonb DEFAULT '{}',
    queue text DEFAULT 'default',
    priority integer DEFAULT 0,
    run_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    headers jsonb DEFAULT NULL,
    id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql
SET search_path = %(schema)s, pg_temp
AS $function$
#variable_conflict use_variable
DECLARE
    now_at CONSTANT timestamptz := statement_timestamp();
    is_later CONSTANT boolean := COALESCE(run_at > now_at, FALSE);
    micros CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    made uuid := id;
    problem text;
BEGIN
    problem := CASE
        WHEN name IS NULL OR name = '' OR length(name) > 255 THEN format(
            'name must be that of a job function, 1 to 255 characters, got %%s.',
            COALESCE(length(name)::text, 'NULL'))
        WHEN args IS NULL OR jsonb_typeof(args) <> 'array' THEN format(
            'args must be a JSON array, got %%s. Write ''[1, "two"]''.',
            COALESCE(jsonb_typeof(args), 'NULL'))
        WHEN kwargs IS NULL OR jsonb_typeof(kwargs) <> 'object' THEN format(
            'kwargs must be a JSON object, got %%s. Write ''{"name": 1}''.',
            COALESCE(jsonb_typeof(kwargs), 'NULL'))
        WHEN headers IS NOT NULL AND jsonb_typeof(headers) <> 'object' THEN format(
            'headers must be a JSON object or NULL, got %%s.', jsonb_typeof(headers))
        WHEN queue IS NULL OR length(queue) NOT BETWEEN 1 AND 100 OR queue <> btrim(queue)
            OR queue ~ '[[:cntrl:],]' OR queue ~ '^[@!#]' THEN format(
            'queue must have 1 to 100 printable characters without a comma, must not begin with '
            '@, ! or #, and must not begin or end with a blank, got %%L.', left(queue, 100))
        WHEN priority IS NULL OR abs(priority::bigint) > 32767 THEN format(
            'priority must be a whole number from -32767 to 32767, got %%s.',
            COALESCE(priority::text, 'NULL'))
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING MESSAGE = 'django_jobs_enqueue: ' || problem,
            ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A UUID of version 7: 48 bits of milliseconds, 12 of their fraction, the rest is random.
    made := COALESCE(made, (
        lpad(to_hex(micros / 1000), 12, '0') || '7'
        || lpad(to_hex((micros %% 1000) * 4096 / 1000), 3, '0')
        || right(replace(gen_random_uuid()::text, '-', ''), 16))::uuid);
    INSERT INTO django_jobs_job (
        id, name, queue, rank, status, args, kwargs, headers, enqueued_at, run_at, ready_at,
        expires_at)
    VALUES (
        made, name, queue, -priority, CASE WHEN is_later THEN 'SCHEDULED' ELSE 'PENDING' END,
        args::text, kwargs::text, headers::text, now_at, CASE WHEN is_later THEN run_at END,
        CASE WHEN NOT is_later THEN now_at END, expires_at);
    PERFORM pg_notify('django_jobs', CASE WHEN is_later THEN '@' ELSE queue END);
    RETURN made;
END
$function$
"""


def _schema(schema_editor):
    """Return the quoted name of the schema that has the jobs, or None on other databases."""
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
            [TABLE],
        )
        found = cursor.fetchone()
    return found[0] if found else None


def create(apps, schema_editor):
    if schema := _schema(schema_editor):
        schema_editor.execute(CREATE % {"schema": schema}, params=None)


def drop(apps, schema_editor):
    if schema := _schema(schema_editor):
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {schema}.{NAME}", params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('django_jobs', '0004_fair_key'),
    ]

    operations = [migrations.RunPython(create, drop)]
