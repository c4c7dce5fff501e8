from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import job, registry
from django_jobs.context import JobContext
from django_jobs.define import JobFunction
from django_jobs.exceptions import DuplicateJob, MaxRetriesExceededError, UnknownJob
from tests import jobs

pytestmark = pytest.mark.usefixtures("registered")


def test_job_is_named_after_module_and_function() -> None:
    assert jobs.add.name == "tests.jobs.add"
    assert registry.get("tests.jobs.add") is jobs.add


def test_job_name_given_is_the_registered_one() -> None:
    @job(name="given")
    def body() -> None: ...

    assert registry.get("given") is body
    assert registry.find(f"{__name__}.body") is None


def test_job_keeps_the_function_s_doc_and_signature() -> None:
    @job
    def body(a: int, *, b: str = "") -> None:
        """What it does."""

    assert body.__doc__ == "What it does."
    assert list(inspect.signature(body).parameters) == ["a", "b"]


def test_job_called_runs_the_function_here() -> None:
    assert jobs.add(1, b=2) == 3


async def call_async() -> int:
    return await jobs.add_async(1, b=2)


def test_async_job_called_gives_a_coroutine() -> None:
    import asyncio

    assert asyncio.run(call_async()) == 3


def test_bound_job_called_gets_a_context_that_says_so() -> None:
    told = jobs.tell_request(1, x=2)
    assert told["called_directly"] is True
    assert told["id"] is None
    assert (told["args"], told["kwargs"]) == ([1], {"x": 2})


def test_unknown_option_says_where_and_what_there_is() -> None:
    options: dict[str, Any] = {"retry_kwargs": {"max_retries": 5}, "time_limits": 3, "zzz": 1}

    def pay() -> None: ...

    with pytest.raises(TypeError) as caught:
        job(**options)(pay)
    text = str(caught.value)
    assert text.startswith(f"@job {__name__}.pay: unknown option retry_kwargs ")
    assert "retry_kwargs (use max_retries=)" in text
    assert "time_limits (did you mean time_limit=?), zzz; allowed: name, bind, " in text


def test_retry_in_a_direct_call_raises_the_error_itself() -> None:
    @job(bind=True)
    def body(self: Any, error: Exception | None) -> None:
        self.retry(exc=error)

    with pytest.raises(ValueError, match="mine"):
        body(ValueError("mine"))
    with pytest.raises(MaxRetriesExceededError):
        body(None)


def test_duplicate_name_of_another_function_is_an_error() -> None:
    @job(name="twice")
    def one() -> None: ...

    with pytest.raises(DuplicateJob, match="two job functions are named 'twice'") as caught:

        @job(name="twice")
        def two() -> None: ...

    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_same_function_defined_again_replaces_itself() -> None:
    def define() -> JobFunction[[], None, None]:
        @job(name="reloaded")
        def body() -> None: ...

        return body

    define()
    again = define()
    assert registry.get("reloaded") is again


def test_unknown_name_says_where_job_functions_are_looked_for() -> None:
    with pytest.raises(UnknownJob, match=r"jobs\.py or tasks\.py"):
        registry.get("nobody.home")


@pytest.mark.parametrize("what", [42, jobs.add])
def test_job_of_something_else_is_a_type_error(what: Any) -> None:
    with pytest.raises(TypeError, match="@job decorates a function"):
        job(what)


def test_bind_needs_a_positional_parameter() -> None:
    with pytest.raises(ImproperlyConfigured, match="bind=True"):

        @job(bind=True)
        def body(*, self: Any) -> None: ...


def test_atomic_async_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="atomic=True needs a plain function"):

        @job(atomic=True)
        async def body() -> None: ...


def test_bind_hides_self_from_the_signature() -> None:
    @job(bind=True)
    def body(self: Any, user_id: int) -> None: ...

    assert body.parameters == ("user_id",)
    body.bind([1], {})
    with pytest.raises(TypeError, match="missing a required argument: 'user_id'"):
        body.bind([], {})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"c": 2}), ((1,), {"a": 2})],
)
def test_arguments_that_do_not_fit_are_a_type_error(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match=r"tests\.jobs\.add\(a: .*int.*, b: .*\)"):
        jobs.add.bind(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"b": 2})]
)
def test_arguments_that_fit_are_accepted(args: Any, kwargs: Any) -> None:
    jobs.add.bind(args, kwargs)


def test_keyword_only_parameters_are_not_filled_by_position() -> None:
    @job
    def body(a: int, *, b: int) -> None: ...

    with pytest.raises(TypeError):
        body.bind([1, 2], {})
    with pytest.raises(TypeError):
        body.bind([1], {})
    body.bind([1], {"b": 2})


def test_base_is_the_class_that_bind_passes() -> None:
    class Mine(JobContext):
        def double(self) -> int:
            return 2

    @job(bind=True, base=Mine)
    def body(self: Mine) -> int:
        return self.double()

    assert body() == 2


def test_context_offers_the_job_function_s_verbs() -> None:
    @job(bind=True)
    def body(self: Any) -> Any:
        return self.apply_async, self.name

    verb, name = body()
    assert verb == body.apply_async
    assert name == body.name


def test_every_returns_job_functions_by_name() -> None:
    names = [function.name for function in registry.every()]
    assert names == sorted(names)
    assert "tests.jobs.add" in names
