"""Secrets are planted in every position and spelling, and every output of the package is searched.

The row itself holds the arguments, and the result, as the job needs them; nothing else may.
"""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote_plus

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.template import Context, Template
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobs import Signature, checks, chord, job, log, signals
from django_jobs.admin.auto_refresh import HEADER
from django_jobs.api.result import AsyncResult
from django_jobs.define import registry
from django_jobs.define.context import JobContext
from django_jobs.models import Attempt, Job, Schedule, Worker
from django_jobs.status import Status
from django_jobs.testing import run_jobs
from django_jobs.testing.captured import enqueued
from django_jobs.values import Outcome
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.worker_info import details
from tests.admin.test_jobs import given

pytestmark = pytest.mark.django_db(transaction=True)

# Every planted text has it; no other text does.
CORE = "pl4nted"
# As JSON of the row, a repr, HTML and a URL escape it.
ODD = "'\\\"<&é "


def secret(number: int) -> str:
    return f"{CORE}{number:03}secret{ODD}"


def spellings(text: str) -> str:
    """*text* in every form in which the package promises to find it."""
    data = text.encode()
    return " | ".join([
        text, text.strip(), repr(text), ascii(text), repr([text]), json.dumps(text), repr(data),
        json.dumps({"a": text}, ensure_ascii=False), html.escape(text), quote(text), text.upper(),
        text.lower(), base64.b64encode(data).decode(),
        base64.b64encode(b"user:" + data).decode(), base64.urlsafe_b64encode(b"xy" + data).decode(),
    ])  # fmt: skip


def leaks(output: str) -> list[str]:
    """The places of *output* in which a planted text stands, however it is spelled."""
    plain = [output, html.unescape(output), unquote_plus(output)]
    found = [text[max(0, at.start() - 60) : at.end() + 30] for text in plain
             for at in re.finditer(CORE, text, re.IGNORECASE)]  # fmt: skip
    for before in range(3):
        # What base64 makes of the core, wherever in the three bytes of a group it begins.
        coded = base64.b64encode(bytes(before) + CORE.encode()).decode()
        middle = coded[(before * 8 + 5) // 6 : (before + len(CORE)) * 8 // 6]
        found += [f"base64 {middle}"] * (middle in output)
    return found


def test_the_search_finds_every_spelling() -> None:
    for text in spellings(secret(1)).split(" | "):
        assert leaks(f"x{text}y"), text
    assert not leaks("planted, but not so spelled")


# --- the job functions, and the calls ----------------------------------------------------------


class Boom(Exception):
    pass


def planted(value: Any) -> Iterator[str]:
    """The planted texts in *value*, not the spellings of them."""
    if isinstance(value, dict):
        for item in value.values():
            yield from planted(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from planted(item)
    elif isinstance(value, str) and CORE in value:
        yield from re.findall(rf"{CORE}\d+secret{re.escape(ODD)}|{CORE}plain", value)


def body(*values: Any) -> None:
    raise Boom(" ".join(map(spellings, planted(values))), list(planted(values)))


class Telling(JobContext):
    """Its hooks raise with all that they are given."""

    def _raise(self, *values: Any) -> None:
        raise Boom(" ".join(map(spellings, planted(values))))

    before_start = on_success = on_failure = on_retry = after_return = _raise


def tell(**named: Any) -> None:
    """A receiver that raises with all that it is given."""
    raise Boom(" ".join(map(spellings, planted(named))))


@pytest.fixture
def functions(registered: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"max_retries": 0, "base": Telling}

    @job(name="walk.login", **options)
    def login(user: str, password: str = "x", **more: Any) -> None:
        body(password, more)

    @job(name="walk.verify", sensitive=["answer", "homeTown"], **options)
    def verify(user: int, answer: str = "", *, home_town: str = "") -> None:
        body(answer, home_town)

    @job(name="walk.many", **options)
    def many(first: str, *tokens: str, **credentials: str) -> None:
        body(tokens, credentials)

    @job(name="walk.anything", **options)
    def anything(*args: Any, **kwargs: Any) -> None:
        body(args, kwargs)

    @job(name="walk.source")
    def source() -> str:
        return "b1"

    @job(name="walk.deploy", **options)
    def deploy(build: str, password: str) -> None:
        body(password)

    @job(name="walk.keyed", concurrency=1, concurrency_key=lambda api_key: {}[api_key], **options)
    def keyed(api_key: str) -> None: ...

    @job(name="walk.unique", unique=True, unique_key=lambda api_key: {}[api_key])
    def unique(api_key: str) -> None: ...

    class Refusing(JobContext):
        def __init__(self, function: Any, request: Any, report: Any = None) -> None:
            raise Boom(spellings(request.kwargs["password"]))

    @job(name="walk.refused", base=Refusing, max_retries=0)
    def refused(password: str) -> None: ...

    @job(name="walk.timed", schedule={
        "schedule": 3600, "args": [secret(900)], "kwargs": {"password": secret(901)},
        "headers": {"token": secret(902)},
    })  # fmt: skip
    def timed(
        user: str = "x", password: str = secret(903), config: Any = {"password": secret(904)}  # noqa: B006, B008
    ) -> None: ...  # fmt: skip

    @job(name="walk.good", **options)
    def good(password: str) -> Any:
        from django_jobs import progress

        progress(1, 2, f"with {password}")
        return {"said": spellings(password), "token": secret(905), password: [password]}

    return {one.name: one for one in (login, verify, many, anything, source, deploy, keyed, unique,
                                      refused, timed, good)}  # fmt: skip


SPELLED = (
    "privateKey", "accessKey", "cardNumber", "creditCard", "pinCode", "userPwd", "dbPass",
    "authHeader", "session_key", "encryption_key", "stripe_key", "X-Amz-Signature", "passcode",
    "dsn", "bearer", "jwt", "totp", "API-Key", "SSHKey",
)  # fmt: skip


@pytest.fixture
def calls(functions: dict[str, Any]) -> list[Any]:
    """Every position in which a secret can be passed."""
    login, verify, many, anything = (
        functions[f"walk.{name}"] for name in ("login", "verify", "many", "anything")
    )
    number = iter(range(1, 900))

    def new() -> str:
        return secret(next(number))

    inner = f"{CORE}plain"
    found = [
        login.s("ann", new()),
        login.s("ann", password=new()),
        login.s("ann", more={"a": [{"api_key": {"b": [new()]}}]}),
        verify.s(1, new()),
        verify.s(1, answer=new()),
        verify.s(1, home_town=new()),
        many.s("a", new(), new()),
        many.s("a", x=new()),
        anything.s({"homeTown": 1, "password": [new(), {"deep": new()}]}),
        anything.s(json.dumps({"password": inner})),
        anything.s(f"https://ann:{inner}@host/?token={inner}"),
        anything.s([["password", new()]], {"name": "secret", "value": new()}),
        anything.s(json.loads(json.dumps(login.s("ann", new())))),
        anything.s(json.loads(json.dumps(functions["walk.deploy"].s(new())))),
        anything.s({"task": "walk.gone", "args": [new()], "kwargs": {"a": new()}}),
        *(anything.s(**{name: new()}) for name in SPELLED),
        functions["walk.source"].s() | functions["walk.deploy"].s(new()),
        verify.starmap([(1, new()), (2, new())]),
        functions["walk.keyed"].s(new()),
        functions["walk.refused"].s(password=new()),
        functions["walk.good"].s(new()),
        functions["walk.source"].s() | functions["walk.good"].si(new()),
        login.s("ann", new()).on_error(functions["walk.unique"].si(api_key=new())),
    ]
    found += list(verify.chunks([(3, new())], 1).group().tasks)
    functions["walk.login"].map(["ann"])
    return found


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the package's log has so far, as its handlers write it."""
    caplog.set_level(logging.DEBUG)
    handler = logging.StreamHandler(stream := io.StringIO())
    logging.getLogger("django_jobs").addHandler(handler)
    return lambda: stream.getvalue() + caplog.text + "".join(map(repr, caplog.records))


@pytest.fixture
def receivers() -> Iterator[None]:
    known = [one for one in vars(signals).values() if isinstance(one, signals.Signal)]
    for signal in known:
        signal.connect(tell)
    yield
    for signal in known:
        signal.disconnect(tell)


def by_hand() -> None:
    """Rows as another version of the code, or somebody with access to the database, wrote them."""
    texts = {"error_class": "builtins.KeyError", "error_message": spellings(secret(950))}
    rows = [
        {"name": "walk.gone", "args": [secret(950)], "kwargs": {"city": secret(951)},
         "result": {"answer": secret(951)}, "progress": {"message": secret(951)}},
        {"name": "walk.login", "args": ["ann", secret(950)], "headers": {"x": secret(950)},
         "result": [secret(950)], "progress": {"message": secret(950), "done": 1}},
        {"name": "walk.login", "args": {"password": secret(950)}, "result": secret(950)},
        {"name": "walk.login", "args": [], "kwargs": [secret(950)], "result": secret(950)},
        {"name": "walk.deploy", "args": [secret(950)], "options": {"takes": "value"}},
    ]  # fmt: skip
    for row in rows:
        for status in (Status.FAILURE, Status.STARTED, Status.SCHEDULED):
            made = Job.objects.create(**given(status) | texts | row)
            Attempt.objects.create(
                job_id=made.pk, attempt=1, status="FAILURE", ended_at=timezone.now(),
                traceback=spellings(secret(950)),
                error_class="builtins.KeyError", error_message=spellings(secret(950)),
            )  # fmt: skip
    Job.objects.filter(status=Status.STARTED).update(worker_id=Worker.objects.get().pk)
    for name in ("walk.login", "walk.gone"):
        Schedule.objects.create(
            name=f"of {name}", job_name=name, kind="interval", interval_seconds=60,
            args=["ann", secret(960)], kwargs={"password": secret(961)}, source="admin",
            headers={"token": secret(962)}, last_error=spellings(secret(960)),
        )  # fmt: skip


# --- the outputs ----------------------------------------------------------------------------------


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """Every page of the admin, and the parts that renew themselves."""
    root = "/admin/django_jobs/"
    urls = [root + name for name in ("dashboard/", "function/", "job/", "queue/", "schedule/",
                                     "schedule/add/", "worker/")]  # fmt: skip
    urls += [f"{root}job/?{query}" for query in (
        "status=FAILURE", "q=walk", "name=walk.login", "error=builtins.KeyError", "p=1",
        "q=args.user:ann", "age=day", "attempts=more", "status=STARTED&p=1",
    )]  # fmt: skip
    urls += [f"{root}function/{one.name}/" for one in registry.every() if "walk" in one.name]
    for model in (Job, Schedule, Worker):
        for pk in model.objects.values_list("pk", flat=True):  # type: ignore[attr-defined]
            urls.append(reverse(f"admin:django_jobs_{model._meta.model_name}_change", args=[pk]))
    for number, url in enumerate(urls):
        yield url, client.get(url).content.decode()
        if "/job/" not in url or number % 8 == 0:
            yield f"{url} live", client.get(url, headers={HEADER: "1"}).content.decode()
    ids = [str(pk) for pk in Job.objects.values_list("pk", flat=True)]
    for action in ("retry", "revoke", "terminate", "copy", "run_now", "delete_selected"):
        data = {"action": action, "_selected_action": ids, "index": "0", "ask": "1"}
        yield f"ask {action}", client.post(f"{root}job/", data).content.decode()
    for schedule in Schedule.objects.all():
        data = {"action": "run_now", "_selected_action": [str(schedule.pk)], "index": "0"}
        answer = client.post(f"{root}schedule/", data, follow=True)
        yield f"run {schedule.name}", answer.content.decode()
    form = {"argument_api_key": json.dumps(secret(970))}
    answer = client.post(f"{root}function/walk.unique/", form)
    told = re.sub(r"(?s)<(input|textarea).*?>", "", answer.content.decode())
    yield "a call that is refused", told
    for row in Job.objects.order_by("?")[:10]:
        tag = "{% load django_jobs %}{% job_progress result %}"
        context = Context({"result": AsyncResult(row.pk)})
        yield f"tag {row.pk}", Template(tag).render(context)
    token = {"Authorization": f"Bearer {CORE}-metrics-token"}
    yield "metrics", client.get(reverse("django_jobs:metrics"), headers=token).content.decode()
    for row in Job.objects.exclude(name__in=["walk.anything", "walk.source"]):
        state = reverse("django_jobs:status", args=[row.pk])
        yield state, client.get(state).content.decode()
        yield "signed", client.get(_signed(row)).content.decode()


def _signed(row: Job) -> str:
    return AsyncResult(row.pk).status_url(result=True)


def commands() -> Iterator[tuple[str, str]]:
    verbs = [["list", "--limit", "500"], ["stats"], ["schedules"], ["top"],
             *(["inspect", what] for what in ("active", "reserved", "scheduled", "registered",
                                              "stats", "conf", "queues", "ping")),
             ["run", "walk.unique", "--kwargs", json.dumps({"api_key": secret(970)})],
             ["run", "walk.unique", "--args", json.dumps({"api_key": secret(970)})],
             ["run", "walk.unique", "--kwargs", secret(970)]]  # fmt: skip
    verbs += [["show", str(pk)] for pk in Job.objects.values_list("pk", flat=True)]
    verbs += [["workflow", str(pk)] for pk in Job.objects.values_list("pk", flat=True)[:3]]
    for number, verb in enumerate(verbs):
        for more in ([], ["--json"]) if verb[0] != "show" or number % 4 == 0 else ([],):
            out = io.StringIO()
            try:
                call_command("jobs", *verb, *more, stdout=out, stderr=out, no_color=True)
            except CommandError as error:
                out.write(str(error))
            yield " ".join(verb[:2] + more), out.getvalue()


def handles() -> Iterator[tuple[str, str]]:
    """What the handles on jobs tell whose results are not there."""
    for row in Job.objects.exclude(status=Status.SUCCESS):
        handle: AsyncResult[Any] = AsyncResult(row.pk)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            handle.get(timeout=0)
        told = "".join(traceback.format_exception(caught.value))
        yield f"get {row.name} {row.pk}", told
        yield f"info {row.name} {row.pk}", repr(handle.info)


def refusals(calls: list[Any], functions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of calls that a result, or an errback's dict, does not fit."""
    source = functions["walk.source"]
    signatures = [call for call in calls if isinstance(call, Signature)]
    for number, call in enumerate(signatures):
        more = call.clone()
        more["args"] = [*more["args"], secret(990), [secret(991)]]
        more["kwargs"] = {**more["kwargs"], "user": 1, "answer": secret(992), "token": secret(993)}
        for one in (call, more):
            for canvas in (source.s() | one, source.s() | one.set(immutable=True),
                           source.s().on_error(one), chord([source.s()], one)):  # fmt: skip
                try:
                    with transaction.atomic():
                        canvas.delay()
                        transaction.set_rollback(True)
                except TypeError as error:
                    yield f"refused {number} {canvas}", str(error)


def deferred(functions: dict[str, Any], work: Any) -> None:
    """Leave jobs that no code here can run, because their functions have changed or are gone."""
    kept = dict(registry._functions)
    functions["walk.login"].delay("ann", secret(995), more={"api_key": secret(996)})
    functions["walk.verify"].delay(1, secret(997), home_town=secret(998))
    functions["walk.good"].delay(secret(999))

    def changed() -> None: ...

    for name in ("walk.login", "walk.verify", "walk.good"):
        del registry._functions[name]
    job(name="walk.verify")(changed)
    work()
    registry._functions.clear()
    registry._functions.update(kept)


def test_no_planted_secret_is_in_any_output(
    calls: list[Any],
    functions: dict[str, Any],
    work: Any,
    lines: Callable[[], str],
    receivers: None,
    boss: Client,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.DJANGO_JOBS = {
        "METRICS_TOKEN": f"{CORE}-metrics-token",
        "SCHEDULES": {"a": {"job": "walk.verify", "schedule": 60, "args": [1, secret(980)],
                            "kwargs": {"answer": secret(981)}}},
    }  # fmt: skip
    seen: list[Outcome] = []
    tell_ended = log.job_ended
    monkeypatch.setattr(log, "job_ended", lambda outcome, **more: (
        seen.append(outcome), tell_ended(outcome, **more)
    ))  # fmt: skip
    for call in calls:
        call.apply_async(headers={"note": "x", "token": secret(906)})
    ran = run_jobs(raise_errors=False)
    deferred(functions, work)
    assert Job.objects.filter(error_class=f"{__name__}.Boom").count() >= len(calls) - 6
    stored = {
        "messages": list(Job.objects.values_list("error_class", "error_message")),
        "attempts": list(Attempt.objects.values()),
        "reprs": [(repr(outcome), repr(outcome.failure), repr(outcome.job)) for outcome in seen],
        "tests": [repr(ran), repr(enqueued())],
        "signatures": [repr(call) for call in calls],
        "workers": list(Worker.objects.values()),
        "details": details(WorkerOptions()),
        "log": lines(),
    }
    told = {**dict(handles()), **dict(refusals(calls, functions))}
    by_hand()
    outputs = {**stored, **told, **dict(pages(boss)), **dict(commands()), "all of the log": lines()}
    outputs["checks"] = [repr(one) for one in checks.check_settings(None)]
    found = {name: leaks(str(output))[:3] for name, output in outputs.items()}
    assert {name: places for name, places in found.items() if places} == {}
    assert Job.objects.filter(deferrals=1, status=Status.SCHEDULED).count() >= 3
    assert len(told) > 100
    assert len(outputs) > 400
