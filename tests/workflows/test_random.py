"""Random canvases against a direct evaluation: the same value or error, and the same calls."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs import Canvas, chain, chord, group
from django_jobs.models import Edge, Job
from tests.workflows import jobs

pytestmark = pytest.mark.django_db

EXAMPLES = settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Failed(Exception):
    """A canvas cannot have a result; holds the names of the calls that it may be due to."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


calls = st.tuples(
    st.just("call"), st.sampled_from(["ok", "ok", "ok", "ok", "fail"]), st.booleans(), st.booleans()
)
specs = st.recursive(
    calls,
    lambda inner: st.one_of(
        st.tuples(st.just("chain"), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("group"), st.lists(inner, max_size=3)),
        st.tuples(st.just("chord"), st.lists(inner, max_size=3), inner),
    ),
    max_leaves=12,
)


class Maker:
    """Makes a canvas of a spec, and evaluates it; calls get their names in the same order."""

    def __init__(self) -> None:
        self.number = 0
        self.runs: Counter[str] = Counter()

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def named(self, spec: Any) -> Any:
        """Return the spec with a name for each call."""
        if spec[0] == "call":
            return ("call", self.name(spec[1]), *spec[2:])
        inner = [self.named(each) for each in spec[1]]
        return (spec[0], inner, *[self.named(each) for each in spec[2:]])

    def canvas(self, spec: Any) -> Canvas:
        if spec[0] == "call":
            _kind, name, immutable, replaced = spec
            call = jobs.node.si(name) if immutable else jobs.node.s(name)
            return jobs.become.si(call.set(immutable=True)) if replaced and immutable else call
        parts = [self.canvas(each) for each in spec[1]]
        if spec[0] == "chain":
            return chain(*parts)
        return group(parts) if spec[0] == "group" else chord(parts, self.canvas(spec[2]))

    def value(self, spec: Any, given: tuple[Any, ...] = ()) -> Any:
        if spec[0] == "call":
            return self.call(spec, given)
        if spec[0] == "chain":
            for each in spec[1]:
                value = self.value(each, given)
                given = (value,)
            return value
        values, failed = [], set[str]()
        for each in spec[1]:
            try:
                values.append(self.value(each, given))
            except Failed as error:
                failed |= error.names
        if failed:
            raise Failed(failed)
        return self.value(spec[2], (values,)) if spec[0] == "chord" else values

    def call(self, spec: Any, given: tuple[Any, ...]) -> int:
        _kind, name, immutable, _replaced = spec
        self.runs[name] += 1
        if name.startswith("fail"):
            raise Failed({name})
        args = [name] if immutable else [*given, name]
        return zlib.crc32(json.dumps(args).encode())


def check(run: Callable[[Canvas], Any], spec: Any) -> None:
    maker = Maker()
    spec = maker.named(spec)
    jobs.calls.clear()
    result = run(maker.canvas(spec))
    try:
        wanted = maker.value(spec)
    except Failed as failed:
        with pytest.raises(ValueError, match="fail") as caught:
            result.get(timeout=0)
        assert str(caught.value) in failed.names  # noqa: PT017
    else:
        assert result.get(timeout=0) == wanted
    assert Counter(jobs.calls) == maker.runs


@EXAMPLES
@given(spec=specs, limit=st.sampled_from([1, 3, 100]))
def test_workers_agree_with_direct_evaluation(
    drain: Callable[..., Any], spec: Any, limit: int
) -> None:
    def run(canvas: Canvas) -> Any:
        result = canvas.apply_async()
        drain(limit)
        assert not Job.objects.live().exists()
        return result

    check(run, spec)
    Edge.objects.all()._raw_delete("default")
    Job.objects.all()._raw_delete("default")


@EXAMPLES
@given(spec=specs)
def test_running_here_agrees_with_direct_evaluation(spec: Any) -> None:
    check(lambda canvas: canvas.apply(), spec)


@EXAMPLES
@given(spec=specs)
def test_form_makes_the_same_canvas(spec: Any) -> None:
    from django_jobs import signature

    canvas = Maker().canvas(Maker().named(spec))
    assert signature(json.loads(json.dumps(canvas))) == canvas
    assert canvas.clone() == canvas
