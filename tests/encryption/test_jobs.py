"""Arguments, results and progress of jobs with ``encrypt`` are stored encrypted."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from django.core import serializers
from django.db import connection

from django_jobs import AsyncResult, chain, chord, group, job, signals
from django_jobs.control import reencrypt, retry
from django_jobs.define.context import JobContext
from django_jobs.define.current import Request
from django_jobs.define.envelopes import MARK, is_envelope, opened, stored
from django_jobs.exceptions import EncryptionError
from django_jobs.models import Attempt, Job, Step
from django_jobs.testing import run_jobs
from tests.encryption.conftest import NEW, OLD, OTHER, SECRET

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_instrumentation")]


def everything() -> str:
    """Return all that the tables have."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("django_jobs"):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                texts.append(repr(cursor.fetchall()))
    return "".join(texts)


def test_no_column_has_what_is_encrypted(functions: Any) -> None:
    result = functions.charge.delay(SECRET, amount=4)
    row = Job.objects.get()
    assert is_envelope(row.args[0])
    assert is_envelope(row.kwargs["amount"])
    run_jobs()
    assert SECRET not in everything()
    assert result.result == {"number": SECRET, "amount": 4}
    row.refresh_from_db()
    assert is_envelope(row.result)


def test_many_calls_are_encrypted(functions: Any) -> None:
    several = functions.charge.delay_many([(SECRET, 1), (SECRET, 2)])
    marked = functions.plain.delay_many([({MARK: "x"},), (2,)])
    assert SECRET not in everything()
    run_jobs()
    assert [each.result["amount"] for each in several] == [1, 2]
    assert [each.result for each in marked] == [{MARK: "x"}, 2]


def test_only_the_named_arguments_are_encrypted(functions: Any) -> None:
    result = functions.named.delay(7, SECRET, "rest", extra=SECRET)
    row = Job.objects.get()
    assert row.args[0] == 7
    assert row.args[2] == "rest"
    assert [is_envelope(row.args[1]), is_envelope(row.kwargs["extra"])] == [True, True]
    run_jobs()
    assert SECRET not in everything()
    assert result.result == [7, SECRET, "rest", {"extra": SECRET}]


@pytest.mark.parametrize("value", [{MARK: "x"}, {MARK: [1]}, {MARK: None}, [{MARK: "x"}]])
def test_a_value_that_looks_encrypted_is_kept(functions: Any, value: Any) -> None:
    plain = functions.plain.delay(value, value)
    other = functions.named.delay(value, value, more=value)
    run_jobs()
    assert plain.result == value
    assert other.result == [value, value, {"more": value}]
    assert functions.plain.apply((value,)).result == value


def test_the_progress_keeps_its_numbers_and_encrypts_its_text(
    functions: Any, settings: Any
) -> None:

    shown: list[Any] = []
    request = Request(name="enc.charge", args=[SECRET], kwargs={})
    context = JobContext(functions.charge, request, lambda _context, what: shown.append(what))
    context.progress(1, 2, SECRET)
    context.update_state(state="PAYING", meta={"number": SECRET})
    assert SECRET not in repr(shown)
    assert (shown[0]["done"], shown[0]["total"], shown[1]["state"]) == (1, 2, "PAYING")
    result = functions.charge.delay(SECRET)
    Job.objects.update(progress=shown[0], status="STARTED")
    assert result.progress == {"done": 1, "total": 2, "message": SECRET}
    Job.objects.update(progress=shown[1])
    assert (result.state, result.info) == ("PAYING", {"number": SECRET})


def test_an_error_does_not_quote_what_is_encrypted(functions: Any, caplog: Any) -> None:
    functions.refuse.delay(SECRET)
    run_jobs(raise_errors=False)
    assert Attempt.objects.get().error_class == "builtins.ValueError"
    assert "the bank refused" in Attempt.objects.get().error_message
    assert SECRET not in everything()
    assert SECRET not in caplog.text


@pytest.mark.parametrize("others", [[], [OTHER]])
def test_a_missing_key_fails_the_job_until_it_is_back(
    functions: Any, settings: Any, others: list[str]
) -> None:
    result = functions.charge.delay(SECRET)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": others}
    run_jobs(raise_errors=False)
    row = Job.objects.get()
    assert (row.status, row.error_class) == ("FAILURE", "django_jobs.exceptions.EncryptionError")
    assert "ENCRYPTION_KEYS" in row.error_message
    assert not any(key in everything() for key in (NEW, OTHER))
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [NEW]}

    assert retry([result.uuid])[0] == 1
    run_jobs()
    assert result.result == {"number": SECRET, "amount": 1}


def test_without_a_key_nothing_is_enqueued(functions: Any, settings: Any) -> None:
    settings.DJANGO_JOBS = {}
    with pytest.raises(EncryptionError, match=r"ENCRYPTION_KEYS'\] is empty"):
        functions.charge.delay(SECRET)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": ["short"]}
    with pytest.raises(EncryptionError, match=r"ENCRYPTION_KEYS'\]\[0\] is no key") as caught:
        functions.charge.delay(SECRET)
    assert "short" not in str(caught.value)
    assert not Job.objects.exists()


def test_a_body_does_not_run_if_its_result_could_not_be_stored(
    registered: Any, keys: None, settings: Any
) -> None:
    ran: list[int] = []

    @job(name="enc.body", encrypt=True)
    def body() -> None:
        ran.append(1)

    body.delay()
    settings.DJANGO_JOBS = {}
    run_jobs(raise_errors=False)
    assert Job.objects.get().error_class == "django_jobs.exceptions.EncryptionError"
    assert not ran


def test_an_old_key_still_opens(functions: Any, settings: Any) -> None:
    result = functions.charge.delay(SECRET)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD, NEW]}
    run_jobs()
    assert result.result["number"] == SECRET


def test_a_dependent_gets_the_result_of_an_encrypted_job(functions: Any) -> None:
    f = functions
    ended = chain(f.charge.s(SECRET), f.named.s(), f.charge.s()).delay()
    several = chord(group(f.charge.s(SECRET), f.plain.s(2)), f.named.s()).delay()
    gathered = group(f.charge.s(SECRET), f.plain.s(2)) | f.named.s(1)
    shifted = chain(f.plain.s(7), f.named.s(SECRET)).delay()
    twice = (group(f.charge.s(SECRET)) | group(f.named.s(), f.named.s())).delay()
    handle = gathered.delay()
    assert SECRET not in everything()
    run_jobs()
    assert ended.result["number"][0]["number"] == SECRET
    assert shifted.result == [7, SECRET, {}]
    assert several.result[0][0]["number"] == SECRET
    assert handle.result[0][0]["number"] == SECRET
    assert twice.get()[0][0][0]["number"] == SECRET
    assert SECRET not in everything()


def test_what_gathers_encrypted_results_encrypts_them(functions: Any, registered: Any) -> None:
    @job(name="enc.become", bind=True)
    def become(self: Any) -> None:
        self.replace(
            group(functions.charge.s(self.request.headers["number"]), functions.plain.s(2))
        )

    result = become.apply_async(headers={"number": "a number of a card"})
    run_jobs()
    assert result.get()[0]["number"] == "a number of a card"
    gathering = Job.objects.get(pk=result.uuid)
    assert gathering.name == "django_jobs.accumulate"
    assert is_envelope(gathering.result)


def test_an_error_of_a_plain_dependent_hides_what_it_takes(functions: Any) -> None:
    chain(functions.charge.s(SECRET), functions.fail.s()).delay()
    run_jobs(raise_errors=False)
    assert Attempt.objects.get().error_class == "builtins.ValueError"
    assert SECRET not in everything()


def test_a_missing_key_of_a_parent_fails_the_dependent(functions: Any, settings: Any) -> None:
    chain(functions.charge.s(SECRET), functions.plain.s()).delay()
    parent = Job.objects.filter(name="enc.charge")
    parent.update(status="SUCCESS", result=stored(SECRET, encrypt=True))
    Job.objects.filter(name="enc.plain").update(status="PENDING", pending_parents=0)
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OTHER]}
    run_jobs(raise_errors=False)
    row = Job.objects.get(name="enc.plain")
    assert row.error_class == "django_jobs.exceptions.EncryptionError"


def test_map_and_starmap_encrypt_what_their_function_does(functions: Any) -> None:
    found = [
        functions.charge.map([SECRET]).delay(),
        functions.charge.starmap([[SECRET, 2]]).delay(),
        functions.plain.map([1]).delay(),
    ]
    assert SECRET not in everything()
    run_jobs()
    assert SECRET not in everything()
    assert [each.result for each in found] == [
        [{"number": SECRET, "amount": 1}], [{"number": SECRET, "amount": 2}], [1],
    ]  # fmt: skip


def test_an_errback_has_its_arguments_encrypted(functions: Any) -> None:
    functions.fail.apply_async((1,), link_error=functions.alarm.s(phone=SECRET))
    failing = group(functions.fail.s(1)).on_error(functions.alarm.s(SECRET))
    failing.delay()
    assert SECRET not in everything()
    run_jobs(raise_errors=False)
    assert SECRET not in everything()
    rows = Job.objects.filter(name="enc.alarm", status="SUCCESS")

    assert {AsyncResult(row.pk).result for row in rows} == {f"enc.fail {SECRET}"}
    assert len(rows) == 2


def test_in_this_process_the_same_holds(functions: Any, settings: Any) -> None:
    eager = functions.charge.apply((SECRET,))
    assert eager.result == {"number": SECRET, "amount": 1}
    assert SECRET not in repr(vars(eager.job))
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [NEW], "EAGER": True}
    done = chain(functions.charge.s(SECRET), functions.plain.s()).delay()
    assert done.result["number"] == SECRET
    failed = functions.fail.apply_async((1,), link_error=functions.alarm.s(phone=SECRET))
    assert failed.status == "FAILURE"


def test_unique_keys_and_limits_see_the_values(registered: Any, keys: None) -> None:

    @job(name="enc.once", encrypt=True, unique=True, concurrency=1, concurrency_key=["number"])
    def once(number: str) -> str:
        return number

    first, same, other = once.delay(SECRET), once.delay(SECRET), once.delay("other")
    assert first.id == same.id != other.id
    assert SECRET not in everything()
    run_jobs()
    assert SECRET not in everything()
    assert (first.result, other.result) == (SECRET, "other")


def test_a_later_call_replaces_encrypted_arguments(registered: Any, keys: None) -> None:

    @job(name="enc.latest", encrypt=True, unique="replace", unique_key=["number"])
    def latest(number: int, text: str) -> str:
        return text

    result = latest.delay(1, "first")
    latest.delay(1, SECRET)
    assert SECRET not in everything()
    run_jobs()
    assert result.result == SECRET


def test_typed_arguments_are_encrypted(registered: Any, keys: None) -> None:

    @job(name="enc.typed", encrypt=True)
    def typed(day: datetime.date) -> datetime.date:
        return day + datetime.timedelta(days=1)

    result = typed.delay(datetime.date(2026, 1, 1))
    assert "2026-01-01" not in json.dumps(Job.objects.get().args)
    run_jobs()
    assert result.result == datetime.date(2026, 1, 2)


def test_dumpdata_has_it_encrypted_and_loaddata_gives_it_back(functions: Any) -> None:
    result = functions.charge.delay(SECRET)
    text = serializers.serialize("json", Job.objects.all())
    assert SECRET not in text
    Job.objects.all().delete()
    for each in serializers.deserialize("json", text):
        each.save()
    run_jobs()
    assert result.result["number"] == SECRET


def test_hooks_and_receivers_get_the_values(functions: Any) -> None:
    seen: list[Any] = []

    def hear(sender: Any, **named: Any) -> None:
        seen.append(named.get("args"))

    signals.job_prerun.connect(hear)
    try:
        functions.charge.delay(SECRET)
        run_jobs()
    finally:
        signals.job_prerun.disconnect(hear)
    assert seen == [[SECRET]]


def test_the_results_of_steps_are_encrypted(registered: Any, keys: None, settings: Any) -> None:
    calls: list[str] = []

    @job(name="enc.steps", bind=True, encrypt=True, max_retries=1, default_retry_delay=0)
    def steps(self: Any, number: str) -> str:
        def token(number: str) -> str:
            calls.append(number)
            return f"token of {number}"

        def broken(text: str) -> None:
            raise OSError(f"refused {text}")

        found = self.step("token", token, number)
        if self.request.retries == 0:
            try:
                self.step("broken", broken, number[::-1])
            except OSError as error:
                raise self.retry(exc=error, countdown=0) from error
        return str(found)

    result = steps.delay(SECRET)
    run_jobs(raise_errors=False)
    assert result.result == f"token of {SECRET}"
    assert calls == [SECRET]
    assert SECRET not in everything()
    assert SECRET[::-1] not in everything()
    assert "refused" in everything()
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD, NEW]}
    assert reencrypt().renewed == 3
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD]}
    assert opened(Step.objects.get(key="token").result) == f"token of {SECRET}"


def test_steps_alone_are_encrypted_anew(registered: Any, keys: None, settings: Any) -> None:
    @job(name="enc.only_steps", bind=True, encrypt=True)
    def only_steps(self: Any) -> None:
        self.step("secret", lambda: SECRET)

    only_steps.delay()
    run_jobs()
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [OLD, NEW]}
    done = reencrypt()
    assert (done.jobs, done.renewed) == (1, 1)
