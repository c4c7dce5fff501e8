"""The statements of PostgreSQL for the steps of jobs, and for the events that they wait for."""

from __future__ import annotations

from ..transitions import RESUME
from .postgresql_text import CHANNEL, NOW, SECOND, numbered
from .step_rows import INSERT_STEP
from .tables import JOBS, LOADED_STEP, STEP_COLUMNS, STEPS

# The event is locked first, then the job: its status is looked at again when it is locked.
GIVE_EVENT = f"""
WITH event AS (DELETE FROM django_jobs_event WHERE id = %s RETURNING id),
job AS (
    SELECT id, queue, pending_parents FROM {JOBS}
    WHERE id = %s AND status = {RESUME.source} AND EXISTS (SELECT 1 FROM event) FOR UPDATE),
wait AS (
    DELETE FROM django_jobs_eventwait w USING job WHERE w.id = %s RETURNING w.job_id, w.key),
step AS (
    UPDATE django_jobs_step s SET state = 'DONE', result = %s, data = '{{}}', wake_at = NULL,
        ended_at = {NOW}
    FROM wait WHERE s.job_id = wait.job_id AND s.key = wait.key),
woken AS (
    UPDATE {JOBS} j SET status = {RESUME.target}, ready_at = {NOW}
    FROM job, wait WHERE j.id = job.id AND job.pending_parents <= 0 RETURNING j.queue)
SELECT EXISTS (SELECT 1 FROM event), EXISTS (SELECT 1 FROM wait),
    set_config('synchronous_commit', COALESCE(%s, current_setting('synchronous_commit')), TRUE),
    (SELECT pg_notify('{CHANNEL}', queue) FROM woken)
"""
LOAD_STEPS = numbered(f"""
SELECT {", ".join(LOADED_STEP)}, wake_at <= {NOW} FROM {STEPS} WHERE job_id = %s
ORDER BY position, id
""")
SEND_EVENT = numbered(f"""
INSERT INTO django_jobs_event (name, payload, broadcast, is_new, sent_at, expires_at)
VALUES (%s, %s, FALSE, TRUE, {NOW}, {NOW} + %s::float8 * {SECOND}) RETURNING id
""")
# It looks for a wait after the commit of the event that its session has sent, and gives the event
# as GIVE_EVENT does. A job that encrypts is left to others, and so is one that does not wait any
# more: then nothing changes. The commit may be asynchronous for the same reason as there.
OFFER_EVENT = numbered(f"""
WITH new AS MATERIALIZED (
    SELECT currval(pg_get_serial_sequence('django_jobs_event', 'id')) AS id),
wanted AS MATERIALIZED (
    SELECT id, job_id, encrypts FROM django_jobs_eventwait WHERE name = %s ORDER BY id LIMIT 1),
event AS MATERIALIZED (
    SELECT id FROM django_jobs_event WHERE id = (SELECT id FROM new)
    AND EXISTS (SELECT 1 FROM wanted WHERE NOT encrypts) FOR UPDATE),
job AS MATERIALIZED (
    SELECT id, queue, pending_parents FROM {JOBS} WHERE id = (SELECT job_id FROM wanted)
    AND status = {RESUME.source} AND EXISTS (SELECT 1 FROM event) FOR UPDATE),
wait AS (
    DELETE FROM django_jobs_eventwait w USING job
    WHERE w.id = (SELECT id FROM wanted) RETURNING w.job_id, w.key),
taken AS (
    DELETE FROM django_jobs_event e USING wait WHERE e.id = (SELECT id FROM new)),
kept AS (
    UPDATE django_jobs_event SET is_new = FALSE
    WHERE id = (SELECT id FROM new) AND NOT EXISTS (SELECT 1 FROM wanted)),
step AS (
    UPDATE django_jobs_step s SET state = 'DONE', result = %s, data = '{{}}', wake_at = NULL,
        ended_at = {NOW}
    FROM wait WHERE s.job_id = wait.job_id AND s.key = wait.key),
woken AS (
    UPDATE {JOBS} j SET status = {RESUME.target}, ready_at = {NOW}
    FROM job, wait WHERE j.id = job.id AND job.pending_parents <= 0 RETURNING j.queue)
SELECT EXISTS (SELECT 1 FROM wait) OR NOT EXISTS (SELECT 1 FROM wanted),
    set_config('synchronous_commit', 'off', TRUE),
    (SELECT pg_notify('{CHANNEL}', queue) FROM woken)
""")
# Ages are parameters, so that the statement is the same for every step.
_AGE = f"{NOW} - %s::float8 * {SECOND}"
RECORD_STEP = INSERT_STEP.format(columns=", ".join(STEP_COLUMNS), began=_AGE, ended=_AGE)
