from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction

from django_jobs import current_job, job, step
from django_jobs.control import retry, revoke, run_now
from django_jobs.define.context import JobContext
from django_jobs.define.hidden_arguments import rules_of
from django_jobs.define.sensitive import shown_arguments
from django_jobs.exceptions import JobFailed, JobLost, StepError, StepMismatch
from django_jobs.models import Attempt, Job, Step
from django_jobs.run.release import release_strays
from django_jobs.status import Status
from django_jobs.values import Outcome

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]


class Calls(list[Any]):
    """What the functions of steps were called with."""

    def add(self, value: Any) -> Any:
        self.append(value)
        return value


@pytest.fixture
def calls() -> Calls:
    return Calls()


def steps() -> list[tuple[str, str, Any]]:
    return list(Step.objects.values_list("key", "state", "result").order_by("position"))


def ended(outcome: Outcome) -> tuple[str, str]:
    failure = outcome.failure
    return str(outcome.status), failure.error_class.rpartition(".")[2] if failure else ""


# --- replay -------------------------------------------------------------------------------------


def test_step_runs_once_in_all_attempts(registered: Any, work: Work, calls: Calls) -> None:
    @job(bind=True, autoretry_for=(ValueError,), retry_backoff=0.001)
    def pay(self: JobContext, order: int) -> Any:
        charge = self.step("charge", calls.add, order)
        if self.request.retries == 0:
            raise ValueError
        return [charge, self.step("ship", calls.add, {"to": "a"})]

    pay.delay(7)
    assert ended(work()[0]) == ("RETRY", "ValueError")
    assert steps() == [("charge", "DONE", 7)]
    Job.objects.update(status="PENDING")
    assert work()[0].value == [7, {"to": "a"}]
    assert calls == [7, {"to": "a"}]
    assert steps() == [("charge", "DONE", 7), ("ship", "DONE", {"to": "a"})]
    first, second = Step.objects.order_by("position")
    assert (first.position, first.kind, first.claims, second.claims) == (1, "call", 1, 2)
    assert first.began_at <= first.ended_at <= second.began_at


def test_first_run_gets_the_value_as_later_ones_do(registered: Any, run: Any) -> None:
    @job(bind=True)
    def ask(self: JobContext) -> None:
        value = self.step("ask", lambda: (1, {"a": None}))
        assert value == [1, {"a": None}]
        assert self.step("nothing", lambda: None) is None

    assert ended(run(ask)) == ("SUCCESS", "")
    assert steps() == [("ask", "DONE", [1, {"a": None}]), ("nothing", "DONE", None)]


def test_second_use_of_a_key_is_another_step(registered: Any, work: Work, calls: Calls) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> Any:
        found = [self.step("charge", calls.add, number) for number in range(3)]
        if len(calls) == 3:
            calls.append("failed")
            raise ValueError
        return found

    result = pay.delay()
    work()
    retry([result.id])
    assert work()[0].value == [0, 1, 2]
    assert calls == [0, 1, 2, "failed"]
    assert [key for key, *_ in steps()] == ["charge", "charge#2", "charge#3"]


def test_keys_are_compared_exactly(registered: Any, run: Any, calls: Calls) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None:
        for key in ("Charge", "charge", "chargé"):
            self.step(key, calls.add, key)

    assert ended(run(pay)) == ("SUCCESS", "")
    assert [key for key, *_ in steps()] == ["Charge", "charge", "chargé"]


def test_job_without_steps_reads_and_writes_none(registered: Any, work: Work) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    @job
    def plain() -> None: ...

    plain.delay()
    with CaptureQueriesContext(connection) as queries:
        work()
    assert [each["sql"] for each in queries if "django_jobs_step" in each["sql"]] == []


def test_step_costs_one_statement(registered: Any, work: Work, calls: Calls) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    @job(bind=True)
    def pay(self: JobContext) -> None:
        self.step("charge", calls.add, 1)
        self.step("ship", calls.add, 2)

    pay.delay()
    with CaptureQueriesContext(connection) as queries:
        work()
    assert len([each for each in queries if "django_jobs_step" in each["sql"]]) == 2


# --- mismatch -----------------------------------------------------------------------------------


def test_other_function_under_a_key_fails_the_job(registered: Any, work: Work) -> None:
    @step(name="shop.charge")
    def charge() -> int:
        return 1

    @step(name="shop.refund")
    def refund() -> int:
        return 2

    wanted = [charge]

    @job(bind=True, autoretry_for=(Exception,))
    def pay(self: JobContext) -> None:
        try:
            self.step("money", wanted[0])
        except StepMismatch:
            return  # it fails nevertheless
        if wanted == [charge]:
            self.retry(countdown=0)

    pay.delay()
    work()
    wanted[0] = refund
    Job.objects.update(status="PENDING")
    (outcome,) = work()
    assert ended(outcome) == ("FAILURE", "StepMismatch")
    message = Job.objects.get().error_message
    assert [word for word in ("shop.charge", "shop.refund", "'money'") if word not in message] == []
    assert steps() == [("money", "DONE", 1)]


# --- failures and retries -----------------------------------------------------------------------


def test_failing_step_fails_the_attempt_and_keeps_its_error(registered: Any, work: Work) -> None:
    fails = [True]

    def charge(card_number: str) -> str:
        if fails:
            raise ValueError(f"refused {card_number}")
        return "paid"

    @job(bind=True)
    def pay(self: JobContext) -> Any:
        return self.step("charge", charge, "4111-2222")

    result = pay.delay()
    assert ended(work()[0]) == ("FAILURE", "ValueError")
    row = Step.objects.get()
    assert (row.state, row.tries, row.error_class) == ("FAILED", 1, "builtins.ValueError")
    assert row.error_message == "refused ********"
    texts = [row.traceback, Job.objects.get().error_message, Attempt.objects.get().traceback]
    assert "4111" not in "".join(texts)
    assert "in charge" in row.traceback
    assert "steps/calls.py" not in row.traceback
    fails.clear()
    assert retry([result.id]) == (1, {})
    assert work()[0].value == "paid"
    row.refresh_from_db()
    assert (row.state, row.result, row.error_class, row.traceback) == ("DONE", "paid", "", "")


def test_error_that_the_body_catches_is_kept(registered: Any, run: Any) -> None:
    def charge() -> None:
        raise ValueError("no money")

    @job(bind=True)
    def pay(self: JobContext) -> str:
        try:
            self.step("charge", charge)
        except ValueError:
            return self.step("excuse", lambda: "sorry")
        return ""

    assert run(pay).value == "sorry"
    assert [(key, state) for key, state, _ in steps()] == [("charge", "CAUGHT"), ("excuse", "DONE")]


class Declined(Exception):
    pass


@pytest.mark.parametrize("kind", [Declined, type("Local", (Exception,), {})])
def test_caught_exception_is_raised_again_in_later_runs(
    registered: Any, work: Work, calls: Calls, kind: type[Exception]
) -> None:
    def charge() -> None:
        calls.append("charge")
        raise kind("no money", 7)

    @job(bind=True)
    def pay(self: JobContext) -> Any:
        try:
            self.step("charge", charge)
        except (kind, JobFailed) as error:
            found = error
        self.step("excuse", calls.add, "sorry")
        self.sleep(0)
        return [type(found).__name__, list(found.args)]

    pay.delay()
    assert work()[0].status == "SCHEDULED"
    assert Step.objects.get(key="charge").state == "CAUGHT"
    run_now([Job.objects.get().pk])
    (outcome,) = work()
    if kind is Declined:
        assert outcome.value == ["Declined", ["no money", 7]]
    else:  # this process cannot find the class by its name
        assert outcome.value[0] == "JobFailed"
    assert calls == ["charge", "sorry"]


@pytest.mark.parametrize("way", ["again", "from", "retry"])
def test_step_whose_exception_ends_the_run_is_called_again(
    registered: Any, work: Work, calls: Calls, way: str
) -> None:
    def charge() -> str:
        calls.append("charge")
        if calls.count("charge") == 1:
            raise Declined("no money")
        return "paid"

    @job(bind=True)
    def pay(self: JobContext) -> Any:
        try:
            return self.step("charge", charge)
        except Declined as error:
            self.step("note", calls.add, "noted")
            if way == "again":
                raise
            if way == "from":
                raise ValueError from error
            raised = error
        return self.retry(exc=raised, countdown=0)

    result = pay.delay()
    work()
    assert {key: state for key, state, _ in steps()} == {"charge": "FAILED", "note": "DONE"}
    if way == "retry":
        Job.objects.update(status="PENDING")
    else:
        retry([result.id])
    assert work()[0].value == "paid"
    assert calls == ["charge", "noted", "charge"]
    assert Step.objects.get(key="charge").data == {}


def test_retry_of_a_step_is_no_retry_of_the_job(registered: Any, work: Work, calls: Calls) -> None:
    def charge() -> str:
        calls.append("charge")
        if len(calls) < 3:
            raise ValueError("busy")
        return "paid"

    @job(bind=True, max_retries=0)
    def pay(self: JobContext) -> Any:
        return self.step("charge", charge, retries=2, backoff=0.001)

    pay.delay()
    (outcome,) = work()
    row = Job.objects.get()
    assert (outcome.status, row.status, row.retries) == ("SCHEDULED", "SCHEDULED", 0)
    written = Step.objects.get()
    assert (written.state, written.tries, written.error_message) == ("RETRY", 1, "busy")
    assert written.wake_at == row.run_at
    for status in ("SCHEDULED", "SUCCESS"):
        Job.objects.update(status="PENDING")
        assert work()[0].status == status
    assert Job.objects.get().result == "paid"
    assert (Step.objects.get().state, Attempt.objects.count()) == ("DONE", 0)


def test_retries_of_a_step_are_used_up(registered: Any, work: Work) -> None:
    def charge() -> None:
        raise ValueError("busy")

    @job(bind=True)
    def pay(self: JobContext) -> Any:
        return self.step("charge", charge, retries=1, backoff=False)

    pay.delay()
    work()
    Job.objects.update(status="PENDING")
    assert ended(work()[0]) == ("FAILURE", "ValueError")
    assert (Step.objects.get().state, Step.objects.get().tries) == ("FAILED", 2)


def test_suspension_passes_except_exception(registered: Any, run: Any) -> None:
    def charge() -> None:
        raise ValueError("busy")

    @job(bind=True)
    def pay(self: JobContext) -> None:
        try:
            self.step("charge", charge, retries=1)
        except Exception:
            pytest.fail("it was caught")

    assert ended(run(pay)) == ("SCHEDULED", "")


def test_body_that_swallows_the_suspension_fails(registered: Any, run: Any) -> None:
    def charge() -> None:
        raise ValueError("busy")

    @job(bind=True)
    def pay(self: JobContext) -> None:
        try:
            self.step("charge", charge, retries=1)
        except BaseException:
            with pytest.raises(StepError, match="being suspended"):
                self.step("other", charge)

    outcome = run(pay)
    assert ended(outcome) == ("FAILURE", "StepError")
    assert "caught the exception" in str(outcome.value)


# --- atomic -------------------------------------------------------------------------------------


def test_atomic_step_is_one_unit_with_its_record(registered: Any, work: Work) -> None:
    def save(name: str, fails: bool) -> str:
        Group.objects.create(name=name)
        if fails:
            raise ValueError
        return name

    @job(bind=True)
    def pay(self: JobContext, fails: bool) -> None:
        self.step("first", save, "a", False, atomic=True)
        self.step("second", save, "b", fails, atomic=True)

    pay.delay(True)
    assert ended(work()[0]) == ("FAILURE", "ValueError")
    assert [group.name for group in Group.objects.all()] == ["a"]
    assert [(key, state) for key, state, _ in steps()] == [("first", "DONE"), ("second", "FAILED")]


def test_atomic_step_with_a_result_that_is_no_json_is_rolled_back(
    registered: Any, run: Any
) -> None:
    def save() -> object:
        Group.objects.create(name="a")
        return object()

    @job(bind=True)
    def pay(self: JobContext) -> None:
        self.step("save", save, atomic=True, retries=5)

    outcome = run(pay)
    assert ended(outcome) == ("FAILURE", "ArgumentError")
    assert "result of step 'save'" in str(outcome.value)
    assert not Group.objects.exists()
    assert [(key, state) for key, state, _ in steps()] == [("save", "FAILED")]


def test_steps_of_an_atomic_job_are_rolled_back_with_it(registered: Any, work: Work) -> None:
    def save(name: str) -> str:
        return Group.objects.create(name=name).name

    fails = [True]

    @job(bind=True, atomic=True)
    def pay(self: JobContext) -> None:
        with pytest.raises(ValueError, match="undone"), transaction.atomic():
            save("undone")
            raise ValueError("undone")
        self.step("save", save, "a", atomic=True)
        if fails:
            raise ValueError

    result = pay.delay()
    assert ended(work()[0]) == ("FAILURE", "ValueError")
    assert (steps(), Group.objects.count()) == ([], 0)
    fails.clear()
    retry([result.id])
    assert ended(work()[0]) == ("SUCCESS", "")
    assert (steps(), Group.objects.count()) == ([("save", "DONE", "a")], 1)


# --- the fence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("atomic", [False, True])
def test_worker_that_lost_the_job_records_nothing(
    registered: Any, work: Work, worker: Any, take: Any, new_worker: Any, atomic: bool
) -> None:
    after: list[str] = []

    def charge() -> None:
        Group.objects.create(name="charged")
        release_strays(worker.pk, (), "default")
        assert len(take(by=new_worker())) == 1

    @job(bind=True)
    def pay(self: JobContext) -> None:
        try:
            self.step("charge", charge, atomic=atomic)
        except Exception:
            after.append("caught")
        after.append("went on")

    pay.delay()
    # With atomic=True the theft is rolled back with the step, so the job can be given back.
    assert [outcome.status for outcome in work()] == (["PENDING"] if atomic else [])
    assert (steps(), after) == ([], [])
    assert Group.objects.count() == (0 if atomic else 1)


def test_revoked_job_records_no_step(registered: Any, work: Work) -> None:
    lost: list[BaseException] = []

    @job(bind=True)
    def pay(self: JobContext) -> None:
        try:
            self.step("charge", lambda: revoke([self.request.id], terminate=True))
        except BaseException as error:
            lost.append(error)
            raise

    pay.delay()
    assert work() == []
    assert isinstance(lost[0], JobLost)
    assert (steps(), Job.objects.get().status) == ([], Status.REVOKED)


# --- bad calls ----------------------------------------------------------------------------------


def test_calls_that_are_refused(registered: Any, run: Any) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None:
        with pytest.raises(ValueError, match="1 to 200 characters, got 201"):
            self.step("k" * 201, print)
        with pytest.raises(ValueError, match="1 to 200"):
            self.step("", print)
        with pytest.raises(ValueError, match="white space, got 'charge '"):
            self.step("charge ", print)
        with pytest.raises(TypeError, match="must be a text, got an int"):
            self.step(7, print)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="NUL"):
            self.step("a\0", print)
        with pytest.raises(TypeError, match="a key and a function, got a str"):
            self.step("a", "print")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="retries must be an integer of at least 0, got -1"):
            self.step("a", print, retries=-1)
        with pytest.raises(ValueError, match="backoff must be"):
            self.step("a", print, backoff="soon")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="atomic must be True or False"):
            self.step("a", print, atomic=1)  # type: ignore[arg-type]

        async def wait() -> None: ...

        with pytest.raises(TypeError, match="needs a plain function"):
            self.step("a", wait, atomic=True)

    assert ended(run(pay)) == ("SUCCESS", "")
    assert steps() == []


def test_longest_key_is_used_twice(registered: Any, run: Any, calls: Calls) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None:
        self.step("k" * 200, calls.add, 1)
        self.step("k" * 200, calls.add, 2)

    assert ended(run(pay)) == ("SUCCESS", "")
    assert len(steps()) == 2


def test_step_outside_of_a_job_is_refused(registered: Any) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None:
        self.step("a", print)

    with pytest.raises(RuntimeError, match="was called directly"):
        pay()
    with pytest.raises(RuntimeError, match="none runs here"):
        current_job.step("a", print)


def test_step_in_a_thread_of_its_own_is_refused(registered: Any, run: Any) -> None:
    errors: list[BaseException] = []

    @job(bind=True)
    def pay(self: JobContext) -> None:
        def inner() -> None:
            try:
                self.step("a", print)
            except StepError as error:
                errors.append(error)

        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    run(pay)
    assert "in a thread of its own" in str(errors[0])


def test_step_after_the_end_is_refused(registered: Any, run: Any) -> None:
    errors: list[BaseException] = []

    class Context(JobContext):
        def on_success(self, *args: Any) -> None:
            try:
                self.step("a", print)
            except StepError as error:
                errors.append(error)

    @job(base=Context)
    def pay() -> None: ...

    run(pay)
    assert "after the end" in str(errors[0])


def test_steps_do_not_nest(registered: Any, run: Any) -> None:
    @step
    def inner() -> int:
        return 1

    def outer() -> int:
        with pytest.raises(StepError, match="inside of step 'outer'"):
            current_job.step("inner", inner)
        return inner()

    @job(bind=True)
    def pay(self: JobContext) -> Any:
        return self.step("outer", outer)

    assert run(pay).value == 1
    assert steps() == [("outer", "DONE", 1)]


# --- @step --------------------------------------------------------------------------------------


def test_decorated_function_is_a_step_of_the_running_job(
    registered: Any, work: Work, calls: Calls
) -> None:
    @step(retries=1, backoff=False)
    def charge(order: int) -> int:
        calls.append(order)
        if len(calls) == 2:
            raise ValueError
        return order

    assert charge(1) == 1  # outside of a job a plain call

    @job
    def pay() -> int:
        return charge(7)

    pay.delay()
    assert work()[0].status == "SCHEDULED"
    Job.objects.update(status="PENDING")
    assert work()[0].value == 7
    assert (calls, steps()) == ([1, 7, 7], [("charge", "DONE", 7)])


def test_secret_names_of_a_step_are_kept_with_it(registered: Any, run: Any) -> None:
    @step(sensitive=("iris",))
    def charge(iris: str) -> None:
        raise ValueError(f"no {iris}")

    @job
    def pay() -> None:
        charge("blue-grey")

    run(pay)
    row = Step.objects.get()
    assert (row.error_message, row.data) == ("no ********", {"sensitive": ["iris"]})
    assert "blue-grey" not in Job.objects.get().error_message


def test_result_is_shown_without_the_secrets_of_its_step(registered: Any, run: Any) -> None:
    @step(sensitive=("iris",))
    def scan() -> dict[str, str]:
        return {"iris": "blue-grey", "token": "t0ken", "name": "ann"}

    @job
    def enter() -> None:
        scan()

    run(enter)
    row = Step.objects.get()
    shown = shown_arguments(rules_of(enter.name), [], {})
    assert shown.step_result(row) == {"iris": "********", "token": "********", "name": "ann"}
    unknown = shown_arguments(rules_of("gone"), [], {})
    assert unknown.step_result(row) == "********"


# --- async --------------------------------------------------------------------------------------


def test_coroutine_has_steps(registered: Any, run: Any, calls: Calls) -> None:
    async def charge(order: int) -> int:
        calls.append(order)
        return order

    decorated = step(name="shop.decorated")(charge)

    @job(bind=True)
    async def pay(self: JobContext) -> Any:
        with pytest.raises(StepError, match=r"await self\.astep"):
            await sync_to_async(lambda: None)()
            self.step("blocking", charge, 1)
        first = await self.astep("first", charge, 1)
        second = await self.astep("second", calls.add, 2)
        third = await self.astep("third", calls.add, 3, atomic=True)
        return [first, second, third, await decorated(4)]

    @job(bind=True)
    def plain(self: JobContext) -> int:
        return self.step("first", charge, 5)

    assert run(pay).value == [1, 2, 3, 4]
    assert calls == [1, 2, 3, 4]
    assert [key for key, *_ in steps()] == ["first", "second", "third", "charge"]
    assert run(plain).value == 5


# --- without rows -------------------------------------------------------------------------------


def test_eager_job_keeps_its_steps_in_memory(registered: Any, calls: Calls) -> None:
    def charge() -> str:
        calls.append("charge")
        if len(calls) < 3:
            raise ValueError
        return "paid"

    @job(bind=True, autoretry_for=(KeyError,))
    def pay(self: JobContext) -> Any:
        found = self.step("charge", charge, retries=5)
        if self.request.retries == 0:
            raise KeyError
        return found

    result = pay.apply()
    assert (result.get(), calls) == ("paid", ["charge"] * 3)
    assert steps() == []


# --- deletion -----------------------------------------------------------------------------------


def test_steps_are_deleted_with_their_job(registered: Any, run: Any, calls: Calls) -> None:
    @job(bind=True)
    def pay(self: JobContext) -> None:
        self.step("charge", calls.add, 1)

    run(pay)
    assert Step.objects.count() == 1
    Job.objects.get().delete()
    assert Step.objects.count() == 0
