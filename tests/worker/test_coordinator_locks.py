"""Heartbeats and commands wait for no row that another transaction has locked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connections, transaction

from django_jobs.control import commands
from django_jobs.db import clock
from django_jobs.models import Command, Worker
from django_jobs.process.renewal import Sign, renew
from django_jobs.worker.command_router import Answer, CommandRouter
from django_jobs.worker.dispatch_line import DispatchLine
from tests.waiting import LONG

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def locked(vendor: str) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Lock the rows of a model in another session; SQLite has no locks of rows."""
    if vendor == "sqlite":
        pytest.skip("SQLite locks the file")

    @contextlib.contextmanager
    def locked(
        rows: type[Worker] | type[Command], *ids: object, share: bool = False
    ) -> Iterator[None]:
        has, over = threading.Event(), threading.Event()

        def hold() -> None:
            try:
                with transaction.atomic():
                    wanted = rows.objects.filter(pk__in=ids)
                    if share:
                        sql = f"SELECT 1 FROM {rows._meta.db_table} FOR KEY SHARE"
                        connections["default"].cursor().execute(sql)
                    else:
                        list(wanted.select_for_update())
                    has.set()
                    over.wait(LONG)
            finally:
                connections.close_all()

        thread = threading.Thread(target=hold)
        thread.start()
        assert has.wait(LONG)
        try:
            yield
        finally:
            over.set()
            thread.join()

    return locked


def renewed() -> set[object]:
    rows = Worker.objects.filter(lease_until__gt=clock("default", 50))
    return set(rows.values_list("pk", flat=True))


def test_locked_row_is_left_out_and_the_others_are_renewed(new_worker, locked) -> None:
    held, free, lost = (new_worker(lease_seconds=5) for _ in range(3))
    Worker.objects.filter(pk=lost.pk).update(lost_at=clock("default"))
    signs = [Sign(worker.pk) for worker in (held, free, lost)]
    with locked(Worker, held.pk):
        assert renew(signs, "default") == ({free.pk}, {lost.pk})
    assert renewed() == {free.pk}
    assert renew(signs[:1], "default") == ({held.pk}, set())


def test_claim_holds_up_no_heartbeat(new_worker, locked, vendor) -> None:
    if vendor != "postgresql":
        pytest.skip("a claim locks the row in another way")
    worker = new_worker(lease_seconds=5)
    with locked(Worker, share=True):
        assert renew([Sign(worker.pk)], "default") == ({worker.pk}, set())


@pytest.mark.parametrize("row", ["command", "worker"])
def test_answer_to_a_locked_command_comes_later_and_others_do_not_wait(
    new_worker, locked, row, monkeypatch
) -> None:
    monkeypatch.setattr("django_jobs.worker.command_router._AGAIN_SECONDS", 0.0)
    held, free = new_worker(), new_worker()
    sent = {each.worker_id: each for each in commands.send("quiet")}
    line = DispatchLine()
    router = CommandRouter("default", line, ask=lambda: None, on_topic=lambda topic: None)
    links = {worker.pk: line.join() for worker in (held, free)}

    def answer() -> None:
        for pk, link in links.items():
            quiet = Answer(sent[pk].pk, {"quiet": True}, {"quiet": True})
            link.send([str(pk), "", [quiet]])
            router.read(LONG)

    router.read(LONG)
    answer()
    rows = (Command, sent[held.pk].pk) if row == "command" else (Worker, held.pk)
    with locked(*rows):
        router.run_once()
        assert Command.objects.get(done_at=None).worker_id == held.pk
        assert Worker.objects.get(quiet=True) == free
    answer()
    router.run_once()
    assert not Command.objects.filter(done_at=None).exists()
    assert Worker.objects.filter(quiet=True).count() == 2
    router.stop()
    router.serve()
    for link in links.values():
        link.close()
