"""Bugs that :mod:`tests.torture.mutants` plants, one at a time; each has a test that must fail."""

# ruff: noqa: E501 (pieces of the code as it is written)
from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bug:
    """*search* in a file of ``django_jobs`` becomes *replace*; a test of *tests* must fail."""

    name: str
    file: str
    search: str
    replace: str
    #: Paths of tests, or tests.
    tests: str
    database: str = "sqlite"
    #: Further changes that make the bug: file, search, replace.
    also: tuple[tuple[str, str, str], ...] = ()


LIFE = "tests/run/test_life.py"
RACES = "tests/test_races.py"
NOTIFY = "tests/enqueue/test_notify.py"
CONFORMANCE = "tests/db/test_conformance.py"

BUGS = (
    # --- fencing, leases, crashes -----------------------------------------------------------------
    Bug("record without the number of claims (SQLite, one success)", "db/sqlite.py",
        """WHERE j.status = {SUCCEED.source} AND j.worker_id = %s
    AND j.claims = json_extract(value, '$[1]')) AS new""",
        """WHERE j.status = {SUCCEED.source} AND j.worker_id = %s) AS new""",
        f"tests/run/test_record.py {LIFE}"),
    Bug("record without the number of claims (SQLite, any outcome)", "db/sqlite.py",
        "WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND claims = %s",
        "WHERE id = %s AND status = {RECORD.source} AND worker_id = %s AND %s > 0",
        f"tests/run/test_record.py {LIFE}"),
    Bug("record without the number of claims (PostgreSQL)", "db/postgresql.py",
        "WHERE j.id = ANY(ARRAY[new.id]) AND j.claims = new.claims",
        "WHERE j.id = ANY(ARRAY[new.id])",
        f"tests/run/test_record.py {LIFE}", "postgresql"),
    Bug("rescue by the host's clock", "maintenance/rescue.py",
        "lost_at=None, stopped_at=None, lease_until__lt=clock(using)",
        "lost_at=None, stopped_at=None, "
        "lease_until__lt=__import__('django.utils.timezone').utils.timezone.now()",
        "tests/run/test_lost_answers.py", "postgresql"),
    Bug("a heartbeat that renews nothing", "process/renewal.py",
        '''        "lease_until": clock(using, get_settings().lease_seconds),\n''', "",
        "tests/worker/test_lease.py tests/process/test_presence.py"),
    Bug("a worker without a lease claims (SQLite)", "db/sqlite.py",
        "WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until > %s)",
        "WHERE w.id = %s AND w.lost_at IS NULL AND w.lease_until <> %s)", f"{CONFORMANCE} {LIFE}"),
    Bug("a crash does not count", "run/outside_body.py",
        "    outcome.crashes += 1\n", "", LIFE),
    Bug("a crash counts as a retry", "run/outside_body.py",
        "    outcome.crashes += 1\n", "    outcome.crashes += 1\n    outcome.retries += 1\n", LIFE),
    Bug("jobs that had not begun are blamed for the crash", "maintenance/rescue.py",
        "if key not in running or (cold", "if (cold", LIFE),
    Bug("acks_late=False runs again after a crash", "run/claim.py",
        "return function is None or function.options.acks_late", "return True",
        f"{LIFE} tests/run"),
    Bug("a rescue leaves the worker alive", "maintenance/rescue.py",
        "    expired.update(lost_at=clock(using))\n", "", LIFE),
    Bug("strays are never released", "run/release.py",
        "    if not strays:\n        return 0", "    return 0", LIFE),
    Bug("the clean-up does not wait for a claim under way", "maintenance/rescue.py",
        "        list(rows.select_for_update().values_list(\"id\"))\n", "",
        "tests/run/test_lost_answers.py", "postgresql"),
    Bug("lost claims are not claimed again", "run/reassert.py",
        "reasserted += transitions.reassert(before.filter(live), worker_id, now)", "pass",
        "tests/run/test_reassert.py"),
    Bug("a worker without a lease claims again", "run/reassert.py",
        "before.filter(live)", "before", "tests/run/test_reassert.py"),
    Bug("the number of a lost claim is used twice", "run/reassert.py",
        "            before.exclude(status=Status.STARTED).update(claims=claims)\n", "",
        "tests/run/test_reassert.py"),
    Bug("a repeated record counts nothing", "run/record.py",
        "        return _written(worker_id, outcomes, using)\n\n    def write_all",
        "        return []\n\n    def write_all", "tests/run tests/workflows/test_races.py"),
    Bug("a record after a lost claim is dropped", "run/record.py",
        "        if _reassert(worker_id, outcomes, using):\n"
        "            return _record(worker_id, outcomes, using, queues, unstarted)\n"
        "        return _written", "        return _written", "tests/run/test_reassert.py"),
    # --- claims, databases -----------------------------------------------------------------------
    Bug("claim without a lock (PostgreSQL)", "db/postgresql.py",
        "ORDER BY rank, id LIMIT %s FOR UPDATE SKIP LOCKED))\n    AND {locked}",
        "ORDER BY rank, id LIMIT %s))\n    AND {locked}", CONFORMANCE, "postgresql"),
    Bug("claim waits for locked rows (PostgreSQL)", "db/postgresql.py",
        "FOR UPDATE SKIP LOCKED", "FOR UPDATE", CONFORMANCE, "postgresql"),
    Bug("claim waits for locked rows (MariaDB)", "db/mysql.py",
        "FOR UPDATE SKIP LOCKED", "FOR UPDATE", CONFORMANCE, "mysql"),
    Bug("claim against the order of its index (MariaDB)", "db/mysql.py",
        "ORDER BY `rank`, id LIMIT %s\"\n            )\n            jobs",
        "ORDER BY `rank` DESC, id LIMIT %s\"\n            )\n            jobs",
        f"{CONFORMANCE} tests/db/test_plans.py", "mysql"),
    Bug("claim in the order of ids alone (SQLite)", "db/sqlite.py",
        "jobs.sort(key=lambda job: (job.rank, job.id.int))", "jobs.sort(key=lambda job: job.id.int)",
        CONFORMANCE),
    Bug("transactions begin as DEFERRED (SQLite)", "db/sqlite.py",
        'options["transaction_mode"] = "IMMEDIATE"', 'options["transaction_mode"] = "DEFERRED"',
        "tests/db/test_databases.py"),
    Bug("a promotion before its time", "maintenance/promote.py",
        "due = timed.filter(run_at__lte=clock(using)).order_by", "due = timed.order_by",
        "tests/maintenance/test_promote.py"),
    # --- enqueue, unique keys ---------------------------------------------------------------------
    Bug("a unique key is free while its job runs", "enqueue/unique.py",
        "if holder.exclude(status__in=ENDED).exists():",
        "if holder.filter(status='PENDING').exists():", f"{LIFE} tests/enqueue/test_unique.py"),
    Bug("unique keys are locked in the order of the calls", "enqueue/unique.py",
        "for key in sorted(first)\n    }", "for key in first\n    }", "tests/enqueue/test_unique.py"),
    Bug("a key's time is not moved by replace", "enqueue/unique.py",
        "update(job_id=job_id, until=until)\n\n\ndef _until", "update(job_id=job_id)\n\n\ndef _until",
        "tests/enqueue/test_unique.py"),
    Bug("replace keeps the steps of the call before", "enqueue/unique.py",
        "            rows.objects.using(using).filter(job_id=job_id)._raw_delete(using)\n",
        "            pass\n", "tests/enqueue/test_unique.py tests/steps"),
    # --- workflows --------------------------------------------------------------------------------
    Bug("a retry does not lock the jobs", "control/retrying.py",
        "{job.pk: job for job in lock_jobs(ids, using)}",
        "{job.pk: job for job in Job.objects.using(using).filter(id__in=ids)}",
        RACES, "postgresql"),
    Bug("the workflow is not locked in reopen", "workflows/reopen.py",
        "return {row.pk: row for row in lock_jobs(ids, using)}",
        "return {row.pk: row for row in Job.objects.using(using).filter(id__in=list(ids))}",
        RACES, "postgresql", (("control/retrying.py",
        "ids = around(job_id, using) if has_dependents else {job_id}", "ids = {job_id}"),)),
    Bug("COMPLETE edges of revived jobs are not counted up", "workflows/reopen.py",
        "_count_up([job.pk, *reopened], Edge.Kind.COMPLETE, using)",
        "_count_up([job.pk], Edge.Kind.COMPLETE, using)", "tests/workflows"),
    Bug("retried jobs are not waited for again", "workflows/reopen.py",
        "        for chunk in chunks(reopened):\n", "        for chunk in chunks(reopened[:0]):\n",
        "tests/workflows/test_failure.py"),
    Bug("a failure leaves its dependents waiting", "workflows/completion.py",
        "    failed = _fail_below(lost, parents, using) if lost else []", "    failed = []", LIFE),
    Bug("dependents are not counted down", "db/base.py",
        '                if kind == "complete" or as_uuid(parent) in good', "                if False",
        LIFE),
    Bug("record does not lock the rows that are its own", "run/record.py",
        "    rows = lock_jobs([each.job.id for each in outcomes], using, statuses=[Status.STARTED])",
        "    rows = Job.objects.using(using).filter("
        "id__in=[each.job.id for each in outcomes], status=Status.STARTED)",
        RACES, "postgresql"),
    # --- limits -----------------------------------------------------------------------------------
    Bug("limits are not locked", "locking.py",
        "rows = locks.filter(key__in=chunk).order_by(\"key\").select_for_update()",
        "rows = locks.filter(key__in=chunk).order_by(\"key\")", f"{RACES} tests/limits", "postgresql"),
    Bug("record does not lock the limits of its jobs", "limits/concurrency.py",
        "            need(using, limits=found)\n", "", RACES, "postgresql", (("run/record.py",
        "    limits = {key for outcome in outcomes for key in outcome.job.permits}\n",
        "    limits: set[str] = set()\n"),)),
    Bug("a permit is not freed", "limits/concurrency.py",
        "            permits._raw_delete(using)\n            freed", "            freed", LIFE),
    Bug("an end wakes nobody who waits for the permit", "limits/concurrency.py",
        "            freed.update(found)\n", "", "tests/limits/test_concurrency.py"),
    Bug("a permit of an earlier claim counts", "limits/concurrency.py",
        "return Counter(key for _id, key, *claim in rows if tuple(claim) in running_claims)",
        "return Counter(key for _id, key, *claim in rows)", f"tests/limits/test_concurrency.py {LIFE}"),
    Bug("a woken job that waits elsewhere passes nothing on", "limits/admission.py",
        "key: min(number, self.most[key] - self.taken[key])", "key: 0",
        "tests/limits/test_concurrency.py"),
    Bug("the slack of a start is that of the longest window", "limits/rate_windows.py",
        "_SLACK * min(window.seconds for window in windows)",
        "_SLACK * max(window.seconds for window in windows)", "tests/limits/test_rate_windows.py"),
    Bug("a start of an earlier claim is taken back", "limits/rate_windows.py",
        "if tuple(claim) in claims]", "if claim]", RACES),
    Bug("starts are forgotten by another limit's window", "limits/rate_windows.py",
        "    for longest, keys in by_longest.items():",
        "    for longest, keys in [(min(by_longest, default=0), list(found))]:",
        "tests/limits/test_rate_windows.py"),
    # --- beat -------------------------------------------------------------------------------------
    Bug("a tick that another beat fired is fired again", "beat/fire.py",
        "            raise _Overtaken", "            pass", "tests/beat/test_due.py"),
    Bug("the tick and its job are two transactions", "beat/fire.py",
        "        enqueue(firings, using)\n        _advance(firings, using)",
        "        _advance(firings, using)\n    enqueue(firings, using)",
        "tests/beat/test_due.py tests/db/test_conflicts.py tests/run/test_lost_answers.py"),
    Bug("beat trusts the host's clock", "beat/fire.py",
        "filter(enabled=True, next_run_at__lte=clock(using))\n    if ids",
        "filter(enabled=True, "
        "next_run_at__lte=__import__('django.utils.timezone').utils.timezone.now())\n    if ids",
        "tests/beat/test_due.py", "postgresql"),
    # --- waking, processes ------------------------------------------------------------------------
    Bug("waking by NOTIFY only", "process/wakeup.py",
        "return GUARD_SECONDS if self.hears else self._next_pause()",
        "return float('inf') if self.hears else self._next_pause()",
        "tests/process/test_wakeup.py tests/worker/test_claim_timer.py tests/worker/test_loop.py"),
    Bug("a call before the sleep is lost", "process/wakeup.py",
        "readable(watched, 0.0 if self._calls else seconds)", "readable(watched, seconds)",
        "tests/process/test_wakeup.py"),
    Bug("record notifies of no retry", "run/record.py",
        "    if Status.PENDING in statuses:\n", "    if not statuses:\n", NOTIFY, "postgresql"),
    Bug("promote notifies nobody", "maintenance/promote.py",
        "            announce(using, {queue for _id, queue in found})\n", "", NOTIFY, "postgresql"),
    Bug("a call inside a transaction notifies nobody", "enqueue/notify.py",
        "    transaction.on_commit(hook, using=using, robust=True)\n", "", NOTIFY, "postgresql"),
    Bug("a woken dependent notifies nobody", "workflows/completion.py",
        "    if topics:\n        announce(using, topics)\n", "", NOTIFY, "postgresql"),
    Bug("a step that is done is called again", "steps/journal.py",
        "self._known = {step.key: step for step in store.load(job)}", "self._known = {}", LIFE),
)  # fmt: skip
