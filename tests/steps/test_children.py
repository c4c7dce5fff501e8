from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import AsyncResult, chain, chord, group, job
from django_jobs.control import retry, revoke
from django_jobs.define.context import JobContext
from django_jobs.exceptions import JobDoesNotExist, JobFailed, JobRevoked
from django_jobs.models import Edge, Job, Step
from django_jobs.values import Outcome
from django_jobs.workflows.graph import workflow_of

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]


class Broken(Exception):
    pass


@pytest.fixture
def fails() -> set[int]:
    """The numbers that the job function ``double`` refuses."""
    return set()


@pytest.fixture
def double(registered: Any, fails: set[int]) -> Any:
    @job
    def double(number: int) -> int:
        if number in fails:
            raise Broken(f"no {number}")
        return 2 * number

    return double


@pytest.fixture
def total(registered: Any) -> Any:
    @job
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    return total


def test_job_gets_the_result_of_a_child(double: Any, work: Work) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return [self.run(double.s(1)), self.run(double.s(2))]

    result = parent.delay()
    assert [outcome.status for outcome in work()] == ["WAITING"]
    row, child = Job.objects.order_by("id")
    assert (row.status, row.pending_parents, row.retries) == ("WAITING", 1, 0)
    assert (child.status, child.parent_id, child.root_id) == ("PENDING", row.pk, row.pk)
    assert Step.objects.get().state == "WAITING"
    assert work()[0].value == 2
    assert result.status == "PENDING"
    assert [work()[0].status, work()[0].value] == ["WAITING", 4]
    assert work()[0].value == [2, 4]
    assert list(Step.objects.values_list("key", "state", "result")) == [
        ("run", "DONE", [2]), ("run#2", "DONE", [4]),
    ]  # fmt: skip
    assert (Job.objects.get(pk=result.id).pending_parents, Job.objects.count()) == (0, 3)


def test_results_of_canvases_come_in_order(double: Any, total: Any, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.gather(
            [
                double.s(3),
                chain(double.s(1), double.s()),
                group(double.s(4), group(double.s(5))),
                chord([double.s(1), double.s(2)], total.s()),
                group([]),
                double.s(1),
            ]
        )

    result = parent.delay()
    drain()
    assert result.get() == [6, 4, [8, [10]], 6, [], 2]


def test_nothing_to_gather_is_no_suspension(registered: Any, run: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.gather([])

    assert run(parent).value == []


def test_group_without_members_has_no_results(registered: Any, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(group([]))

    result = parent.delay()
    drain()
    assert result.get() == []


def test_loop_and_condition_are_a_workflow(double: Any, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> int:
        number = 1
        while number < 20:
            number = self.run(double.s(number))
        return number

    result = parent.delay()
    drain()
    assert result.get() == 32
    assert Step.objects.count() == 5


def test_failure_of_a_child_is_raised_at_the_call(double: Any, drain: Any, fails: set[int]) -> None:
    fails.add(2)

    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.gather([double.s(1), double.s(2), double.s(3)])

    result = parent.delay()
    drain()
    with pytest.raises(Broken, match="no 2"):
        result.get()
    step = Step.objects.get()
    assert (step.state, step.error_message) == ("FAILED", "no 2")
    # The next attempt runs only the child that failed once more.
    fails.clear()
    retry([result.id])
    drain()
    assert AsyncResult(result.id).get() == [2, 4, 6]
    assert Job.objects.filter(name=double.name).count() == 4


def test_child_that_an_operator_retried_is_not_run_again(
    double: Any, drain: Any, fails: set[int]
) -> None:
    fails.add(2)

    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(double.s(2))

    result = parent.delay()
    drain()
    fails.clear()
    (child,) = Job.objects.filter(name=double.name)
    assert retry([child.pk]) == (1, {})
    drain()
    assert result.status == "FAILURE"
    assert retry([result.id]) == (1, {})
    drain()
    assert (AsyncResult(result.id).get(), Job.objects.count()) == (4, 2)


def test_body_that_catches_the_failure_of_a_child_goes_on(
    double: Any, drain: Any, fails: set[int]
) -> None:
    fails.add(2)

    @job(bind=True)
    def parent(self: JobContext) -> Any:
        try:
            return self.run(double.s(2))
        except (Broken, JobFailed) as error:
            return [str(error), self.run(double.s(5))]

    result = parent.delay()
    drain()
    assert result.get() == ["no 2", 10]
    assert list(Step.objects.values_list("state", flat=True)) == ["CAUGHT", "DONE"]


def test_revoked_child_is_an_error(double: Any, work: Work, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(double.s(2))

    result = parent.delay()
    work()
    revoke([Job.objects.get(name=double.name).pk], reason="not wanted")
    drain()
    with pytest.raises(JobRevoked, match="not wanted"):
        result.get()


def test_deleted_child_is_an_error(double: Any, work: Work, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(double.s(2))

    result = parent.delay()
    work()
    work()
    Job.objects.filter(name=double.name).delete()
    drain()
    with pytest.raises(JobDoesNotExist, match="waited for in the step 'run', is gone"):
        result.get()


def test_job_of_a_workflow_waits_for_children_and_passes_its_result_on(
    double: Any, total: Any, drain: Any
) -> None:
    @job(bind=True)
    def parent(self: JobContext, number: int) -> Any:
        return self.run(double.s(number))

    workflow = chord([parent.s(1), parent.s(2)], total.s()) | parent.s().set(countdown=0)
    result = workflow.apply_async()
    drain()
    assert result.get() == 12


def test_delay_in_a_workflow_counts_once(double: Any, drain: Any) -> None:
    from django_jobs.db import clock
    from django_jobs.maintenance import promote

    @job(bind=True)
    def parent(self: JobContext, number: int) -> Any:
        return self.run(double.s(number))

    result = chain(double.s(1), parent.s().set(countdown=3_600)).apply_async()
    drain()
    assert result.status == "SCHEDULED"
    Job.objects.filter(pk=result.id).update(run_at=clock("default", -1))
    promote.run_all("default")
    drain()
    assert result.get() == 4


def test_children_come_after_their_job_in_the_graph(double: Any, work: Work) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(chain(double.s(2), double.s()))

    parent.delay()
    work()
    nodes = workflow_of(Job.objects.order_by("id")[0]).nodes
    assert [(node.name.rpartition(".")[2], node.depth) for node in nodes] == [
        ("parent", 0), ("double", 1), ("double", 2),
    ]  # fmt: skip
    assert Edge.objects.filter(kind="complete", position=-1).count() == 1


def test_revoked_job_that_waited_waits_again(double: Any, work: Work, drain: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(double.s(2))

    result = parent.delay()
    work()
    revoke([result.id])
    assert retry([result.id]) == (1, {})
    assert result.status == "WAITING"
    drain()
    assert (result.get(), Job.objects.count()) == (4, 2)


def test_other_children_under_a_key_are_a_mismatch(
    double: Any, total: Any, work: Work, drain: Any
) -> None:
    wanted = [double.s(1)]

    @job(bind=True)
    def parent(self: JobContext) -> Any:
        return self.run(wanted[0])

    parent.delay()
    work()
    wanted[0] = total.s([1])
    drain()
    row = Job.objects.order_by("id")[0]
    assert (row.status, row.error_class.rpartition(".")[2]) == ("FAILURE", "StepMismatch")


def test_what_is_no_canvas_is_refused(double: Any, run: Any) -> None:
    @job(bind=True)
    def parent(self: JobContext) -> None:
        with pytest.raises(TypeError, match=r"gather\(\) takes signatures and workflows"):
            self.gather([double])
        with pytest.raises(TypeError, match="gather"):
            self.gather([{"task": "a"}])  # type: ignore[list-item]

    assert run(parent).status == "SUCCESS"


def test_run_with_other_arguments_calls_the_function(registered: Any, run: Any) -> None:
    class Context(JobContext):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return [super().__call__(*args, **kwargs), self.run(*args, **kwargs)]

    @job(base=Context)
    def plain(key: str) -> str:
        return key

    assert run(plain, "a").value == ["a", "a"]
    assert run(plain, key="b").value == ["b", "b"]


def test_coroutine_gathers(double: Any, drain: Any) -> None:
    @job(bind=True)
    async def parent(self: JobContext) -> Any:
        return [await self.arun(double.s(1)), await self.agather([double.s(2)])]

    result = parent.delay()
    drain()
    assert result.get() == [2, [4]]


def test_eager_job_runs_its_children(double: Any, total: Any, fails: set[int]) -> None:
    fails.add(9)

    @job(bind=True)
    def parent(self: JobContext) -> Any:
        found = self.gather([double.s(1), group(double.s(2)), chain(double.s(1), double.s())])
        try:
            self.run(double.s(9))
        except Broken as error:
            found.append(str(error))
        return found

    assert parent.apply().get() == [2, [4], 4, "no 9"]
